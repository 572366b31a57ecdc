"""The last steps before a request leaves: what the configuration and the row's metadata add to its body.

Precedence, low to high: the configuration's `extra_body`, the row's `metadata.extra_body`, the request,
the configuration's `sampling_overrides`.
"""

from typing import Any

import orjson

from nemo_gym_lite.clients import Json
from nemo_gym_lite.dialects import reasoning
from nemo_gym_lite.dialects.settings import DialectSettings, bad_request


def prepare_chat(body: Json, settings: DialectSettings) -> Json:
    """Return a Chat body as it is sent upstream. `body` is not changed.

    Raises:
        FailedCallError: `bad_request`, terminal: the body cannot be sent to this model.
    """
    prepared = dict(body)
    prepared["messages"] = [_prepare_message(message, settings) for message in body["messages"]]
    if settings.return_token_id_information:
        if body.get("n") not in {None, 1}:
            raise bad_request(f"n={body['n']} with return_token_id_information: one answer has the token ids")
        prepared |= {"logprobs": True, "top_logprobs": 0}
        prepared |= {"return_tokens_as_token_ids": True, "return_token_ids": True}
    if prepared.get("top_logprobs", 0) is None:
        del prepared["top_logprobs"]
    return prepare_common(prepared, settings)


def prepare_common(body: Json, settings: DialectSettings) -> Json:
    """Return `body` with the model's name, the template's arguments, the extra fields and the overrides.

    Raises:
        FailedCallError: `bad_request`, terminal: a metadata field does not hold a JSON object.
    """
    metadata = body.get("metadata") or {}
    template = settings.chat_template_kwargs
    if "chat_template_kwargs" in metadata:
        template = {**template, **_json_object(metadata, "chat_template_kwargs")}
    extra = settings.extra_body
    if "extra_body" in metadata:
        extra = {**extra, **_json_object(metadata, "extra_body")}
    result: Json = {**extra, **body, "model": settings.model}
    if template:
        result["chat_template_kwargs"] = template
    result.update(settings.sampling_overrides)
    return result


def _json_object(metadata: Json, name: str) -> Json:
    try:
        value: Any = orjson.loads(metadata[name])
    except (orjson.JSONDecodeError, TypeError) as error:
        raise bad_request(f"metadata.{name} is not JSON: {metadata[name]!r}") from error
    if not isinstance(value, dict):
        raise bad_request(f"metadata.{name} is not a JSON object: {metadata[name]!r}")
    return value


def _prepare_message(message: Json, settings: DialectSettings) -> Json:
    role = message.get("role")
    if role == "developer" and settings.replace_developer_role_with_system:
        return {**message, "role": "system"}
    strips = settings.uses_reasoning_parser and not settings.preserve_reasoning_in_assistant_content
    if role == "assistant" and strips and message.get("content"):
        return _without_reasoning(message, settings)
    return message


def _without_reasoning(message: Json, settings: DialectSettings) -> Json:
    content = message["content"]
    if isinstance(content, str):
        blocks, content = reasoning.split(content)
    else:
        parts = [(part, *reasoning.split(part.get("text") or "")) for part in content]
        blocks = [block for _, found, _ in parts for block in found]
        if len(blocks) > 1:
            raise bad_request("an assistant message's content list holds more than one block of reasoning")
        content = [{**part, "text": text} if found else part for part, found, text in parts]
    if not blocks:
        return message
    result = {**message, "content": content}
    if settings.uses_interleaved_reasoning:
        # engines differ in the name; each ignores the other's
        result |= {"reasoning_content": blocks[0], "reasoning": blocks[0]}
    return result
