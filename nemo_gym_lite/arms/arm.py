"""What an arm makes of a task: another system prompt, another user message, other sampling."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from typing import Any

import orjson
from pydantic import BaseModel, Field

from nemo_gym_lite.arms.template import filled
from nemo_gym_lite.clients import Json
from nemo_gym_lite.errors import ConfigError

ARM = "arm"
"""Field of a row with the name of the arm that it was played under."""

ARM_LABEL = "_ng_arm"
"""Field with the arm's place in its file, a hash of what it says, and the key of the task without any arm."""

_TEXT_PARTS = frozenset({"input_text", "text"})


class Arm(BaseModel, frozen=True, extra="forbid"):
    """One variant. What it leaves out stays as the row has it.

    Attributes:
        name: Its name in rows and metrics.
        system: The system prompt, as it is; it takes the place of the row's own, and an empty one takes that away.
        user: Template of the user's message: `{field}` is a field of the row and `{prompt}` the row's own message.
        responses_create_params: Sampling and other fields, laid over the row's and the command line's.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*$")
    system: str | None = None
    user: str | None = None
    responses_create_params: dict[str, Any] = {}

    @cached_property
    def digest(self) -> str:
        """Hash of what the arm says, 16 hex digits, to tell it from what it said before it was changed."""
        said = self.model_dump(exclude={"name"})
        return blake2b(orjson.dumps(said, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()

    def applied(self, row: Json) -> Json:
        """The task as this arm asks it; `row` is not changed.

        Raises:
            ConfigError: The row has an arm already, lacks a field of the template, or has no place for a prompt.
        """
        if ARM in row:
            raise ConfigError(
                f"the row has a field `{ARM}` already: {row[ARM]!r:.40}",
                "give the tasks themselves, not rollouts of an earlier run, or call the field something else",
            )
        params = row["responses_create_params"]
        prompt = params.get("input")
        if (self.system is not None or self.user is not None) and isinstance(prompt, str | list | None):
            items = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt or ())
            if self.user is not None:
                self._put_user(self.user, items, row)
            if self.system is not None:
                while items and _role(items[0]) in {"system", "developer"}:
                    items.pop(0)
                items[:0] = [{"role": "system", "content": self.system}] if self.system else []
            params = {**params, "input": items}
        return {**row, "responses_create_params": {**params, **self.responses_create_params}, ARM: self.name}

    def _put_user(self, template: str, items: list[Any], row: Mapping[str, Any]) -> None:
        """Write the user's message in place of the last one, or behind what there is."""
        at = next((at for at in reversed(range(len(items))) if _role(items[at]) == "user"), None)
        if at is None:
            items.append({"role": "user", "content": self._filled(template, row)})
            return
        content = items[at].get("content")
        if isinstance(content, str):
            items[at] = {**items[at], "content": self._filled(template, {**row, "prompt": content})}
            return
        parts = content if isinstance(content, list) else []
        texts = [n for n, part in enumerate(parts) if isinstance(part, dict) and part.get("type") in _TEXT_PARTS]
        if len(texts) != 1:
            raise ConfigError(f"arm {self.name}: `user` needs a user message with one text, and this has {len(texts)}")
        text = self._filled(template, {**row, "prompt": parts[texts[0]].get("text")})
        changed = [{**part, "text": text} if n == texts[0] else part for n, part in enumerate(parts)]
        items[at] = {**items[at], "content": changed}

    def _filled(self, template: str, fields: Mapping[str, Any]) -> str:
        return filled(template, fields, f"arm {self.name}: `user`")


def under_arms(arms: Sequence[Arm], row: Json, key: str, key_of: Callable[[Json], str]) -> Iterator[tuple[Json, str]]:
    """The task under each arm, with the key that it has there; the task itself where there is no arm.

    Arms are compared by `key`, the task's own.
    """
    for number, arm in enumerate(arms):
        asked = arm.applied(row)
        yield {**asked, ARM_LABEL: {"task": key, "says": arm.digest, "number": number}}, key_of(asked)
    if not arms:
        yield row, key


def _role(item: object) -> object:
    return item.get("role") if isinstance(item, dict) else None
