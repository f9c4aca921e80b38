"""Queries to a chat model and their answers."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

Access = Literal["logprobs", "labels"]
"""Use the log-probabilities of a chat model's answers, or their text alone."""
Purpose = Literal["train", "reference", "validate", "evaluate"]
REJECTED: Final = "I can't answer: the provider rejected the request for what it holds."
"""Text of the answer to a request that a provider's filter stopped; it reads as a refusal."""

PUT_ASIDE: Final = "I can't answer: the provider failed on the request again and again, and answered others."
"""Text of the answer to a request on which a provider always fails; it reads as a refusal."""


class Query(NamedTuple):
    """One black-box evaluation: a protected image or clip and a question about it."""

    image: bytes
    """The encoded picture, exactly as it is sent; or the frames of a clip (:func:`~trainer.oracle.clips.pack`)."""
    question: str
    choices: tuple[str, ...] = ()
    length: Literal["word", "words"] = "word"
    """Whether an open question is answered with a single word, or with the words that stand in the picture."""

    @property
    def prompt(self) -> str:
        """The text that is sent along with the image."""
        if not self.choices and self.length == "words":
            return f"{self.question}\nAnswer with as few words as possible, as they stand in the picture."
        if not self.choices:
            return f"{self.question}\nAnswer with a single word or number."
        return f"{self.question}\nAnswer with exactly one of: {', '.join(self.choices)}."

    @property
    def image_digest(self) -> str:
        """sha256 of the image, in hex."""
        return hashlib.sha256(self.image).hexdigest()


class Answer(NamedTuple):
    """The chat model's reply to one query."""

    text: str
    logprobs: Mapping[str, float] | None = None
    """Natural log-probabilities of the alternatives for the first token, if the model returned them."""
    input_tokens: int = 0
    """0 if the provider named none: every request has some."""
    output_tokens: int = 0
