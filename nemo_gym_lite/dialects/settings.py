"""What a model server's configuration says about the two dialects."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nemo_gym_lite.errors import FailedCallError


@dataclass(frozen=True, slots=True)
class DialectSettings:
    """How to talk to one model.

    Attributes:
        model: Name the engine serves it under; the caller's own `model` is ignored.
        uses_reasoning_parser: The engine separates reasoning from text, and we make it reasoning items.
        uses_interleaved_reasoning: Earlier turns' reasoning goes back to the engine in fields of its own.
        preserve_reasoning_in_assistant_content: Earlier turns' reasoning goes back as tags in the text.
        return_token_id_information: Token ids and log probabilities of each turn go on its last output item.
        replace_developer_role_with_system: For chat templates that do not know the `developer` role.
        sequential_reasoning_allowed: An answer of reasoning only may be followed by another call.
        chat_template_kwargs: Given to the chat template; a row's `metadata.chat_template_kwargs` beats it.
        extra_body: Fields to send with each request that does not set them itself.
        sampling_overrides: Fields that replace whatever the request says.
    """

    model: str
    uses_reasoning_parser: bool = True
    uses_interleaved_reasoning: bool = True
    preserve_reasoning_in_assistant_content: bool = False
    return_token_id_information: bool = False
    replace_developer_role_with_system: bool = False
    sequential_reasoning_allowed: bool = True
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    sampling_overrides: Mapping[str, Any] = field(default_factory=dict)


def bad_request(message: str, hint: str = "") -> FailedCallError:
    """Return the error of a request that cannot be sent, now or ever."""
    return FailedCallError("bad_request", message, hint, terminal=True)


def bad_reply(message: str, hint: str = "") -> FailedCallError:
    """Return the error of a reply that cannot be understood."""
    return FailedCallError("bad_reply", message, hint)
