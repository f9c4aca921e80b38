"""A query as a message to the chat model, and the model's reply as an answer."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any, Final

from langchain_core.messages import HumanMessage

from langchain_vpp.images.codec import ENCODED_MIME_TYPE
from trainer.oracle.query import REJECTED, Answer

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

    from trainer.oracle.query import Query

_ENDING: Final = re.compile(r"finish|stop|done|feedback|block", re.IGNORECASE)
"""Names under which clients keep the reason why a reply ended."""
_WITHHELD: Final = re.compile(
    r"content.?filter|refusal|safety|guardrail|prohibited|blocklist|spii|recitation", re.IGNORECASE
)
"""Reasons for which a provider withholds an answer."""
_MOST_PROBABLE: Final = 0.01
"""Largest log-probability that is believed: it is at most 0, up to rounding."""


def as_message(query: Query) -> HumanMessage:
    """Build the message that asks a query: its prompt, then its picture."""
    return picture_message(query.image, query.prompt)


def picture_message(picture: bytes, prompt: str) -> HumanMessage:
    """Build a message from a text and an encoded picture."""
    image = {
        "type": "image",
        "base64": base64.b64encode(picture).decode(),
        "mime_type": ENCODED_MIME_TYPE,
    }
    return HumanMessage(content=[{"type": "text", "text": prompt}, image])


class UnreadableReplyError(Exception):
    """A client made nothing of the provider's reply, and said nothing of it."""


def reply_text(reply: AIMessage) -> str:
    """Text of a reply, or of the refusal that stands in a field of its own or in the reason why the reply ended.

    Raises:
        UnreadableReplyError: If the reply has neither text nor tokens nor a reason to end: some clients make such an
            empty message of a document that is no answer.
    """
    text = reply.text or str(reply.additional_kwargs.get("refusal") or "")
    if text:
        return _storable(text)
    ending = " ".join(
        str(value) for name, value in reply.response_metadata.items() if _ENDING.search(name) and value
    )
    if not ending and not _tokens(reply)[0] and not reply.tool_calls:
        raise UnreadableReplyError
    return REJECTED if _WITHHELD.search(ending) else ""


def as_answer(text: str, reply: AIMessage, *, logprobs: Any = None, part: int = 0, parts: int = 1) -> Answer:
    """Build an answer from its text and its share of the reply's tokens.

    Args:
        text: The answer's part of the reply.
        reply: Names the tokens of the whole reply.
        logprobs: In OpenAI's format; anything malformed counts as absent.
        part: Which of the answers in the reply this is, counted from 0.
        parts: Answers in the reply; their tokens add up to the whole.
    """
    shares = [whole // parts + (part < whole % parts) for whole in _tokens(reply)]
    return Answer(_storable(text), _first_token(logprobs), *shares)


def _tokens(reply: AIMessage) -> tuple[int, int]:
    usage = reply.usage_metadata
    return (usage["input_tokens"], usage["output_tokens"]) if usage else (0, 0)


def _storable(text: str) -> str:
    """Replace halves of surrogate pairs: JSON can spell them, no file can hold them, and the answer is paid."""
    return text.encode(errors="replace").decode()


def _first_token(logprobs: Any) -> dict[str, float] | None:
    """Log-probabilities of the first token's alternatives; ``None`` if anything is malformed."""
    try:
        alternatives = logprobs["content"][0]["top_logprobs"]
        found = {str(each["token"]): float(each["logprob"]) for each in alternatives}
    except (TypeError, KeyError, IndexError, ValueError):
        return None
    if not all(value <= _MOST_PROBABLE for value in found.values()):  # this way round, NaN is refused too
        return None
    return found or None
