"""Answers about a picture: what machines find in it before and after, and what sending it costs."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from langchain_vpp.engines import faces
from langchain_vpp.engines.words.folding import plain
from langchain_vpp.extras import is_installed
from langchain_vpp.providers import AS_OF, FAMILIES, fit_size

if TYPE_CHECKING:
    from PIL import Image

    from trainer.studio.protectors import SentSize

_FACE: Final = 0.2
"""Score from which something counts as a face."""
_PICTURES: Final = 1_000
"""Pictures of which the cost is told."""


class MachineReaders:
    """What finds words and faces, where it is installed; loaded when it is first used. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._words: Any = None
        self._faces: Any = None

    def compare(self, original: Image.Image, protected: Image.Image) -> dict[str, Any]:
        """Count what machines find in a picture, and how much of it in its protected copy.

        Args:
            original: The picture as the engine sees it.
            protected: The engine's result.

        Returns:
            ``words``: kind -> ``[found, still read]``; ``faces``: ``[found, still found]``. ``None`` for what nothing
            can be looked for with: its extra is not installed.
        """
        with self._lock:
            return {
                "words": self._compare_words(original, protected),
                "faces": self._compare_faces(original, protected),
            }

    def _compare_words(self, original: Image.Image, protected: Image.Image) -> dict[str, list[int]] | None:
        if not is_installed("rapidocr", "presidio_analyzer", "phonenumbers", "wordfreq"):
            return None
        from langchain_vpp.engines.words.kinds import kinds_of  # noqa: PLC0415  extra `words`
        from langchain_vpp.engines.words.policy import Policy  # noqa: PLC0415
        from langchain_vpp.engines.words.reader import RapidReader  # noqa: PLC0415
        from langchain_vpp.engines.words.recognizers import default_recognizers  # noqa: PLC0415
        from langchain_vpp.engines.words.verdict import Stage  # noqa: PLC0415

        if self._words is None:
            self._words = RapidReader(), Policy(default_recognizers())
        reader, policy = self._words
        found = [word for word in reader.read(original) if plain(word.text)]
        kinds = kinds_of(found, policy.judge(found, Stage.NUMBERS))
        left = Counter(plain(word.text) for word in reader.read(protected))
        counts: dict[str, list[int]] = {}
        for word, kind in zip(found, kinds, strict=True):
            count = counts.setdefault(kind or "other", [0, 0])
            count[0] += 1
            if left[plain(word.text)] > 0:
                left[plain(word.text)] -= 1
                count[1] += 1
        return counts

    def _compare_faces(self, original: Image.Image, protected: Image.Image) -> list[int] | None:
        if not faces.is_installed():
            return None
        if self._faces is None:
            self._faces = faces.FaceFinder()
        return [len(self._faces(each, _FACE)) for each in (original, protected)]


def cost_of(size: tuple[int, int], uploaded: int, sent: int, option: SentSize) -> dict[str, Any]:
    """Compute what sending a picture costs, as it is and protected.

    Args:
        size: Width and height of the original.
        uploaded: Bytes of the original's file.
        sent: Bytes of the protected picture.
        option: Size at which it is sent.

    Returns:
        Plain JSON; prices are list prices, US dollars for a thousand pictures.
    """
    leaving = fit_size(*size) if option == "fit" else size
    families = []
    for family in FAMILIES:
        model, (price, _) = next(iter(family.models.items()))
        tokens = [family.tokens(*each) for each in (size, leaving)]
        families.append(
            {
                "family": family.name,
                "model": model,
                "tokens": tokens,
                "dollars": [round(each * price * _PICTURES / 1e6, 4) for each in tokens],
            }
        )
    return {
        "bytes": [uploaded, sent],
        "size": [*size],
        "sent_size": [*leaving],
        "as_of": AS_OF,
        "families": families,
    }
