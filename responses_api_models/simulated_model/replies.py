"""Answers in the two dialects of vLLM's HTTP, field by field as recorded from vLLM 0.32."""

import time
from random import getrandbits
from typing import Any

from nemo_gym_lite.clients import Json
from responses_api_models.simulated_model import tokens
from responses_api_models.simulated_model.answers import Answer
from responses_api_models.simulated_model.conversation import Conversation

SYSTEM_FINGERPRINT = "simulated-engine"


def new_id(prefix: str) -> str:
    """A random id as vLLM writes them: `chatcmpl-9857346d1fb40789`."""
    return f"{prefix}{getrandbits(64):016x}"


def chat_reply(body: Json, conversation: Conversation, answer: Answer, prompt_tokens: int) -> Json:
    """A Chat Completions reply."""
    generated = answer.completion_tokens()
    with_ids = bool(body.get("return_token_ids"))
    return {
        "id": new_id("chatcmpl-"),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.get("model"),
        "choices": [
            {
                "index": 0,
                "message": _message(answer),
                "logprobs": _chat_logprobs(body, answer),
                "finish_reason": answer.finish_reason,
                "stop_reason": None,
                "token_ids": _completion_ids(answer) if with_ids else None,
                "routed_experts": None,
            }
        ],
        "service_tier": None,
        "system_fingerprint": SYSTEM_FINGERPRINT,
        "usage": {
            "prompt_tokens": prompt_tokens,
            "total_tokens": prompt_tokens + generated,
            "completion_tokens": generated,
            "prompt_tokens_details": None,
            "completion_tokens_details": None,
        },
        "prompt_logprobs": None,
        "prompt_token_ids": conversation.prompt_ids() if with_ids else None,
        "prompt_text": None,
        "kv_transfer_params": None,
        "ec_transfer_params": None,
        "metrics": None,
    }


def responses_reply(params: Json, _: Conversation, answer: Answer, prompt_tokens: int) -> Json:
    """A Responses reply."""
    generated = answer.completion_tokens()
    cut = answer.finish_reason == "length"
    return {
        "id": new_id("resp_"),
        "created_at": int(time.time()),
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "instructions": params.get("instructions"),
        "metadata": params.get("metadata"),
        "model": params.get("model"),
        "object": "response",
        "output": _output_items(params, answer),
        "parallel_tool_calls": params.get("parallel_tool_calls") is not False,
        "temperature": params.get("temperature"),
        "tool_choice": params.get("tool_choice") or ("auto" if params.get("tools") else "none"),
        "tools": params.get("tools") or [],
        "top_p": params.get("top_p"),
        "background": False,
        "max_output_tokens": params.get("max_output_tokens"),
        "max_tool_calls": None,
        "previous_response_id": None,
        "prompt": None,
        "reasoning": params.get("reasoning"),
        "service_tier": "auto",
        "status": "incomplete" if cut else "completed",
        "text": params.get("text"),
        "top_logprobs": params.get("top_logprobs"),
        "truncation": "disabled",
        "usage": {
            "input_tokens": prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": generated,
            "output_tokens_details": {"reasoning_tokens": tokens.count(answer.reasoning or "")},
            "total_tokens": prompt_tokens + generated,
        },
        "user": params.get("user"),
    }


def _message(answer: Answer) -> Json:
    message: Json = {
        "role": "assistant",
        "content": answer.text,
        "refusal": None,
        "annotations": None,
        "audio": None,
        "function_call": None,
        "reasoning": answer.reasoning,
    }
    if answer.calls:
        message["tool_calls"] = [
            {
                "id": new_id("chatcmpl-tool-"),
                "type": "function",
                "function": {"name": name, "arguments": arguments},
            }
            for name, arguments in answer.calls
        ]
    return message


def _output_items(params: Json, answer: Answer) -> list[Json]:
    items: list[Json] = []
    if answer.reasoning:
        thought = [{"type": "reasoning_text", "text": answer.reasoning}]
        items.append({"id": new_id("rs_"), "type": "reasoning", "summary": [], "content": thought})
    if answer.text or not answer.calls:
        part: Json = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": None}
        if "message.output_text.logprobs" in (params.get("include") or ()):
            part["logprobs"] = _logprobs(answer, params.get("top_logprobs") or 0, as_ids=False)
        message = {"id": new_id("msg_"), "type": "message", "role": "assistant"}
        items.append({**message, "status": "completed", "content": [part]})
    items.extend(
        {
            "id": new_id("fc_"),
            "type": "function_call",
            "call_id": new_id("chatcmpl-tool-"),
            "name": name,
            "arguments": arguments,
            "status": "completed",
        }
        for name, arguments in answer.calls
    )
    return items


def _completion_ids(answer: Answer) -> list[int]:
    ids = [tokens.token_id(piece) for piece in tokens.pieces(answer.written())]
    return ids if answer.finish_reason == "length" else [*ids, tokens.END_ID]


def _chat_logprobs(body: Json, answer: Answer) -> Json | None:
    if not body.get("logprobs"):
        return None
    as_ids = bool(body.get("return_tokens_as_token_ids"))
    return {"content": _logprobs(answer, body.get("top_logprobs") or 0, as_ids=as_ids)}


def _logprobs(answer: Answer, top: int, *, as_ids: bool) -> list[Json]:
    """One entry per generated token; alternatives are the token itself, `top` at most one."""
    pieces = tokens.pieces(answer.written())
    entries = [_logprob(piece, tokens.token_id(piece), as_ids=as_ids) for piece in pieces]
    if answer.finish_reason != "length":
        entries.append(_logprob("<|im_end|>", tokens.END_ID, as_ids=as_ids))
    for entry in entries:
        entry["top_logprobs"] = [dict(entry)] if top else []
    return entries


def _logprob(piece: str, token_id: int, *, as_ids: bool) -> dict[str, Any]:
    return {
        "token": f"token_id:{token_id}" if as_ids else piece,
        "logprob": tokens.logprob(piece),
        "bytes": list(piece.encode("utf-8", "surrogatepass")),
    }
