"""Answers and labels that a machine proposes for a person to confirm: by a chat model, or by local detectors."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from langchain_vpp.images.codec import encode_scaled
from langchain_vpp.providers import fit_size
from trainer.data.making import TEXT
from trainer.data.pictures import open_picture
from trainer.data.review import Said, proposed_by
from trainer.oracle.comparing import chosen, kind, said
from trainer.oracle.connection import addresses
from trainer.oracle.ledger import Ledger
from trainer.oracle.model_spec import model_identity
from trainer.oracle.oracle import Oracle
from trainer.oracle.query import Query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from langchain_core.language_models import BaseChatModel
    from PIL import Image

    from langchain_vpp.engines.faces import FaceFinder
    from trainer.data.making import Asked
    from trainer.data.sources import Source
    from trainer.oracle.ledger import Budget, Price

_LEDGER = "proposals.ledger.sqlite"
_HERE = frozenset({"127.0.0.1", "localhost", "::1"})
_FACE = 0.3
"""Score above which something is proposed as a face."""


def is_local(model: BaseChatModel) -> bool:
    """Say whether a chat model is known to run on this machine: every address that it asks is of the loopback."""
    found = addresses(model)
    return bool(found) and all(urlsplit(each).hostname in _HERE for each in found)


@dataclass(frozen=True)
class ModelProposals:
    """Proposes answers by asking a chat model about the pictures themselves, which it sees **unprotected**.

    Each answer is recorded when it arrives, and is never paid twice.

    Attributes:
        model: The chat model.
        out: Folder of the data set; the ledger is kept there.
        budget: Limit of what is spent.
        price: Price of tokens, for a budget in money.
        progress: Called with the number of answers that have arrived, and of those that are asked for.
    """

    model: BaseChatModel
    out: Path
    budget: Budget
    price: Price | None
    progress: Callable[[int, int], None]

    def __call__(
        self, sources: Sequence[Source], questions: Sequence[Asked], known: Sequence[Said]
    ) -> list[Said]:
        """Ask each question that has no answer; one that is refused or names no choice stays without."""
        answered = {(each.image, each.what) for each in known if each.value}
        pairs = [
            (source, asked)
            for source in sources
            for asked in questions
            if (source.image, asked.question) not in answered
        ]
        queries = list(self._queries(pairs))
        arrived = iter(range(1, len(queries) + 1))
        name = model_identity(self.model)
        with Ledger(self.out / _LEDGER, model=f"{name}|labels", price=self.price, store_images=False) as book:
            replies = Oracle(self.model, book, self.budget).ask(
                queries, purpose="train", on_answer=lambda: self.progress(next(arrived), len(queries))
            )
        result = []
        for (source, asked), reply in zip(pairs, replies, strict=True):
            if reply is not None and (value := _answer(reply.text, asked.choices)):
                result.append(Said(source.image, asked.question, value, proposed_by(name)))
        return result

    def _queries(self, pairs: Sequence[tuple[Source, Asked]]) -> Iterator[Query]:
        for source, inside in groupby(pairs, key=lambda pair: pair[0]):
            image = open_picture(self.out / source.image)
            encoded = encode_scaled(image, fit_size(*image.size))
            for _, asked in inside:
                yield Query(encoded, asked.question, asked.choices)


@dataclass(frozen=True)
class FaceProposals:
    """Proposes the private attribute ``faces`` (``none``, ``one``, ``several``) by a local detector (extra ``faces``).

    Attributes:
        out: Folder of the data set.
        find: The detector.
        progress: Called with the number of pictures that are done, and of all.
    """

    out: Path
    find: FaceFinder
    progress: Callable[[int, int], None]

    def __call__(
        self, sources: Sequence[Source], questions: Sequence[Asked], known: Sequence[Said]
    ) -> list[Said]:
        """Count the faces of pictures that have no such label."""
        del questions
        labelled = {each.image for each in known if each.what == "faces"}
        result = []
        for number, source in enumerate(sources, 1):
            if source.image not in labelled:
                count = len(self.find(open_picture(self.out / source.image), _FACE))
                value = ("none", "one")[count] if count < 2 else "several"
                result.append(Said(source.image, "faces", value, proposed_by("CenterFace")))
            self.progress(number, len(sources))
        return result


@dataclass(frozen=True)
class WordProposals:
    """Proposes private text by kind, such as ``text:name``, by a local reader and recognizers (extra ``words``).

    Attributes:
        out: Folder of the data set.
        find: Returns kind and text of what is private in a picture; see :func:`private_text_finder`.
        progress: Called with the number of pictures that are done, and of all.
    """

    out: Path
    find: Callable[[Image.Image], Sequence[tuple[str, str]]]
    progress: Callable[[int, int], None]

    def __call__(
        self, sources: Sequence[Source], questions: Sequence[Asked], known: Sequence[Said]
    ) -> list[Said]:
        """Read the pictures for which no private text is known."""
        del questions
        told = {each.image for each in known if each.what.startswith(TEXT)}
        result = []
        for number, source in enumerate(sources, 1):
            if source.image not in told:
                counts: dict[str, int] = {}
                for what, text in self.find(open_picture(self.out / source.image)):
                    counts[what] = counts.get(what, 0) + 1
                    name = what if counts[what] == 1 else f"{what} {counts[what]}"
                    result.append(Said(source.image, f"{TEXT}{name}", text, proposed_by("words")))
            self.progress(number, len(sources))
        return result


def private_text_finder() -> Callable[[Image.Image], list[tuple[str, str]]]:
    """Return a function that finds private text with the reader and the recognizers of the protector of words.

    Raises:
        MissingExtraError: If the extra ``words`` is missing.
    """
    from langchain_vpp.engines.words import RapidReader, default_recognizers  # noqa: PLC0415  extra `words`
    from langchain_vpp.engines.words.gaps import refined  # noqa: PLC0415
    from langchain_vpp.engines.words.policy import Policy  # noqa: PLC0415
    from langchain_vpp.engines.words.verdict import Stage  # noqa: PLC0415

    reader, policy = RapidReader(), Policy(default_recognizers())

    def find(image: Image.Image) -> list[tuple[str, str]]:
        words = refined(image, reader.read(image))
        verdicts = policy.judge(words, Stage.RECOGNIZED)
        found = []
        for what, run in groupby(zip(words, verdicts, strict=True), key=lambda pair: pair[1].kind):
            if what:
                found.append((what.lower(), " ".join(word.text for word, _ in run)))
        return found

    return find


def _answer(text: str, choices: Sequence[str]) -> str:
    if choices:
        index = chosen(text, choices)
        return "" if index is None else choices[index]
    return said(text).strip() if kind(text) == "usable" else ""
