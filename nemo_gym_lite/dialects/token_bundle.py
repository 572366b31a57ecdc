"""The token ids and log probabilities in a Chat completion, checked against each other.

Training on ids that differ from the sampled ones is silently wrong, so whatever does not agree is an error.
"""

from nemo_gym_lite.clients import Json
from nemo_gym_lite.dialects.settings import bad_reply
from nemo_gym_lite.token_ids import REQUIRED_TOKEN_METADATA_FIELDS, TOKEN_METADATA_FIELDS

_MARK = "token_id:"


def token_bundle(chat: Json) -> Json:
    """Return prompt ids, generated ids, their log probabilities and `routed_experts` of the first choice.

    Raises:
        FailedCallError: `bad_reply`: something is missing, or the reply contradicts itself.
    """
    choice = chat["choices"][0]
    message = choice["message"]
    inline = _inline_bundle(chat, choice)
    if TOKEN_METADATA_FIELDS.isdisjoint(message):
        bundle = inline
    else:
        bundle = _message_bundle(message)
        for name, value in inline.items():
            if value is not None and bundle.get(name) != value:
                raise bad_reply(f"the message and the choice disagree on {name}")
    if missing := sorted(name for name in REQUIRED_TOKEN_METADATA_FIELDS if bundle.get(name) is None):
        raise bad_reply(
            f"the reply lacks {', '.join(missing)}, which return_token_id_information needs",
            "serve the model with vLLM 0.10.2 or newer",
        )
    ids, log_probs = bundle["generation_token_ids"], bundle["generation_log_probs"]
    if len(ids) != len(log_probs):
        raise bad_reply(f"the reply has {len(ids)} generated token ids and {len(log_probs)} log probabilities")
    return bundle


def _message_bundle(message: Json) -> Json:
    return {name: message.get(name) for name in (*REQUIRED_TOKEN_METADATA_FIELDS, "routed_experts")}


def _inline_bundle(chat: Json, choice: Json) -> Json:
    entries = (choice.get("logprobs") or {}).get("content")
    ids = choice.get("token_ids")
    if entries and entries[0]["token"].startswith(_MARK):
        named = [int(entry["token"][len(_MARK) :]) for entry in entries]
        if ids is not None and ids != named:
            raise bad_reply("the choice's token_ids are not those of its logprobs")
        ids = named
    if entries is None and ids == []:
        entries = []
    return {
        "prompt_token_ids": chat.get("prompt_token_ids") or choice.get("prompt_token_ids"),
        "generation_token_ids": ids,
        "generation_log_probs": None if entries is None else [entry["logprob"] for entry in entries],
        "routed_experts": choice.get("routed_experts"),
    }
