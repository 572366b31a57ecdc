"""What messages are made of: the text, images and refusals in a Responses item."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag
from typing_extensions import TypedDict

_INPUT_PART_TYPES = ("input_file", "input_image", "input_text", "input_video", "output_text", "refusal")


def _check_input_parts(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for part in parts:
        kind = part.get("type")
        if kind not in _INPUT_PART_TYPES:
            raise ValueError(f"unknown content part type {kind!r}, expected one of {_INPUT_PART_TYPES}")
        if kind == "input_text" and not isinstance(part.get("text"), str):
            raise ValueError("an input_text part needs a string `text`")
        if kind == "input_video" and bool(part.get("video_url")) == bool(part.get("video")):
            raise ValueError("an input_video part needs exactly one of `video_url` and `video`")
    return parts


def text_or_list(value: object) -> str:
    """Tell `text` from `list` before validation, so that a wrong list is not also called "not a string"."""
    return "text" if isinstance(value, str) else "list"


InputParts: TypeAlias = Annotated[list[dict[str, Any]], AfterValidator(_check_input_parts)]
TextOrParts: TypeAlias = Annotated[
    Annotated[str, Tag("text")] | Annotated[InputParts, Tag("list")], Discriminator(text_or_list)
]


class NeMoGymResponseInputText(TypedDict):
    """Text in an input message's content list; a plain dict."""

    text: str
    type: Literal["input_text"]


class _Part(BaseModel):
    model_config = ConfigDict(defer_build=True)


class NeMoGymResponseOutputText(_Part):
    """Text that the model wrote."""

    annotations: list[dict[str, Any]] = Field(default_factory=list)
    text: str
    type: Literal["output_text"] = "output_text"
    logprobs: list[dict[str, Any]] | None = None


class NeMoGymResponseOutputRefusal(_Part):
    """The model's refusal to answer."""

    refusal: str
    type: Literal["refusal"] = "refusal"


NeMoGymContent: TypeAlias = Annotated[
    NeMoGymResponseOutputText | NeMoGymResponseOutputRefusal, Field(discriminator="type")
]
