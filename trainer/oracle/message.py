"""A query as a message to the chat model, and the model's reply as an answer."""

from __future__ import annotations

import base64
import math
import re
from typing import TYPE_CHECKING, Any, Final

from langchain_core.messages import HumanMessage

from langchain_vpp.images.codec import ENCODED_MIME_TYPE
from langchain_vpp.messages.plan import VIDEO_HEADING
from trainer.oracle.clips import is_clip, unpack
from trainer.oracle.comparing import refused
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
_MOST_TOKENS: Final = 10**9
"""Tokens that no request has: such a number is none."""
_MOST_PROBABLE: Final = 0.01
"""Largest log-probability that is believed: it is at most 0, up to rounding."""


def as_message(query: Query) -> HumanMessage:
    """Build the message that asks a query: its prompt, then its picture."""
    return picture_message(query.image, query.prompt)


def picture_message(picture: bytes, prompt: str) -> HumanMessage:
    """Build a message from a text and an encoded picture, or a clip, sent as the runtime sends a video."""
    frames = unpack(picture)
    content: list[str | dict[str, Any]] = [{"type": "text", "text": prompt}]
    if is_clip(picture):
        content.append({"type": "text", "text": VIDEO_HEADING.format(len(frames))})
    content += [
        {"type": "image", "base64": base64.b64encode(frame).decode(), "mime_type": ENCODED_MIME_TYPE}
        for frame in frames
    ]
    return HumanMessage(content=content)


class UnreadableReplyError(Exception):
    """A client made nothing of the provider's reply, and said nothing of it."""


def reply_text(reply: AIMessage) -> str:
    """Text of a reply, or of a refusal: a provider's own in a field, or ours if the reply ended because of a filter.

    A text that a filter cut off is no answer, whatever it names.

    Raises:
        UnreadableReplyError: If the reply has neither text nor tokens nor a reason to end: some clients make such an
            empty message of a document that is no answer.
    """
    endings = {
        name: value for name, value in reply.response_metadata.items() if _ENDING.search(name) and value
    }
    text = reply.text or str(reply.additional_kwargs.get("refusal") or "")
    if text:
        cut_off = any(isinstance(value, str) and _WITHHELD.search(value) for value in endings.values())
        withheld = cut_off or not reply.text
        return REJECTED if withheld and not refused(text) else _storable(text)
    if not endings and not _tokens(reply)[0] and not reply.tool_calls:
        raise UnreadableReplyError
    return REJECTED if _WITHHELD.search(" ".join(map(str, endings.values()))) else ""


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
    """Tokens of a reply; (0, 0), as if it named none, if they are no numbers that a reply can have."""
    usage = reply.usage_metadata
    named = (usage["input_tokens"], usage["output_tokens"]) if usage else (0, 0)
    if not all(0 <= number < _MOST_TOKENS for number in named):  # this way round, NaN is refused too
        return 0, 0
    return math.ceil(named[0]), math.ceil(named[1])


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
