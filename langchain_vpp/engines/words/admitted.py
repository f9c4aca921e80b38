"""The engine of a learned admission: it shows the kinds of regions that a task was found to need."""

from __future__ import annotations

import hashlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_vpp.engines.words.codes import find_codes
from langchain_vpp.engines.words.engine import Words, WordsDraft, read_and_unread
from langchain_vpp.engines.words.kinds import KINDS, covering, kinds_of
from langchain_vpp.engines.words.painter import blind_base, cover, cut_in, wordless
from langchain_vpp.engines.words.plates import pieces_of, plates_of
from langchain_vpp.engines.words.printed import merged
from langchain_vpp.engines.words.questions import same_question
from langchain_vpp.engines.words.segments import segments_of
from langchain_vpp.engines.words.signatures import signature_places
from langchain_vpp.engines.words.tokens import TokenNumbers
from langchain_vpp.engines.words.verdict import Stage

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from PIL import Image

    from langchain_vpp.engines.words.geometry import Box
    from langchain_vpp.engines.words.reader import Word
    from langchain_vpp.engines.words.tokens import TokenSource
    from langchain_vpp.engines.words.verdict import Verdict


class Layers(NamedTuple):
    """Parts of a picture: its words, its regions without text, and what stays without them.

    Attributes:
        words: Its words.
        verdicts: Verdict on each word where numbers and dates that identify nobody are shown.
        kinds: Kind of each word; ``None`` for a word that is never shown.
        boxes: Kind -> boxes of its regions without text: faces and codes.
        bare: The picture without its words.
        base: The small copy that stays where nothing is shown, at the size of the picture.
    """

    words: Sequence[Word]
    verdicts: Sequence[Verdict]
    kinds: Sequence[str | None]
    boxes: dict[str, list[Box]]
    bare: Image.Image
    base: Image.Image


class AdmittedKinds(Words):
    """Shows chosen kinds of regions, and covers all others with plates that carry tokens.

    Reads and judges as :class:`~langchain_vpp.engines.words.engine.Words` does; only what is shown at a level differs.

    Args:
        steps: Levels with the kinds that are shown up to each. Above the last one nothing is shown.
        needs: Question -> kinds that it needs, for :meth:`answering`.
        artifact_digest: Digest of the artifact that the steps come from, if they do.
        **options: Options of :class:`~langchain_vpp.engines.words.engine.Words`.

    Attributes:
        digest: sha256, in hex, of everything that determines the output; ``None`` with parts of your own.

    Raises:
        ValueError: If a kind is none of :data:`~langchain_vpp.engines.words.kinds.KINDS`.
        MissingExtraError: If the extra ``words`` is missing or can't be loaded.
    """

    name = "admitted-kinds"

    def __init__(
        self,
        steps: Sequence[tuple[float, Collection[str]]],
        *,
        needs: Mapping[str, Collection[str]] = MappingProxyType({}),
        artifact_digest: str = "",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._needs, self._options, self._artifact_digest = needs, options, artifact_digest
        self._steps = sorted((level, frozenset(kinds)) for level, kinds in steps)
        unknown = sorted({kind for _, kinds in self._steps for kind in kinds} - set(KINDS))
        if unknown:
            raise ValueError(f"there are no kinds {', '.join(unknown)}; there are {', '.join(KINDS)}")
        if self.digest is not None:
            shown = [(level, sorted(kinds)) for level, kinds in self._steps]
            self.digest = hashlib.sha256(f"{self.digest}{artifact_digest}{shown}".encode()).hexdigest()

    def shown_at(self, level: float) -> frozenset[str]:
        """Return the kinds that are shown at a level."""
        return next((kinds for highest, kinds in self._steps if level <= highest), frozenset())

    def answering(self, *questions: str) -> AdmittedKinds:
        """Return an engine that shows no more than some questions need.

        Args:
            questions: Questions that the pictures are sent for, also in other words than in training. An unknown one
                is taken to need what any known question needs.

        Returns:
            An engine that shows at each level those of its kinds that one of the questions needs.
        """
        every = frozenset(kind for kinds in self._needs.values() for kind in kinds)
        found = [same_question(question, self._needs) for question in questions]
        needed = {kind for each in found for kind in (every if each is None else self._needs[each])}
        steps = [(level, kinds & needed) for level, kinds in self._steps]
        return AdmittedKinds(steps, needs=self._needs, artifact_digest=self._artifact_digest, **self._options)

    def draft(self, image: Image.Image, level: float, *, printed: Sequence[Word] = ()) -> WordsDraft:
        """Protect one picture, but for its tokens; see :class:`~langchain_vpp.engines.DraftingEngine`."""
        layers = self.look(image, printed=printed)
        if layers is None:
            return WordsDraft(blind_base(image))
        return self._drafted(image, layers, self.shown_at(level))

    def look(self, image: Image.Image, *, printed: Sequence[Word] = ()) -> Layers | None:
        """Find what a picture is made of; ``None`` if it can't be read and is to be covered.

        Args:
            image: An RGB image.
            printed: Words that the page of a document says it has; they add to what is hidden.

        Raises:
            ProtectionError: If it can't be read and is to be refused.
        """
        found = self._reader.read(image)
        if found is None:
            return None
        words, unread = read_and_unread(image, found)
        verdicts = self._policy.judge(words, Stage.NUMBERS)
        if printed:
            words, verdicts = merged(words, verdicts, printed, self._policy.judge(printed, Stage.NUMBERS))
        boxes = {"codes": list(find_codes(image)), "faces": list(self._find_heads(image))}
        bare = wordless(image, words)
        cover(bare, [*unread, *signature_places(segments_of(words))])
        hidden = bare.copy()
        cover(hidden, [box for each in boxes.values() for box in each])
        base = self._base(hidden, words)
        return Layers(words, verdicts, kinds_of(words, verdicts), boxes, bare, base)

    def kinds_in(self, layers: Layers) -> frozenset[str]:
        """Return the kinds that a picture has, and that can be shown."""
        boxes = {kind for kind, found in layers.boxes.items() if found}
        # Without a detector of faces the picture itself is never shown, because it may hold some.
        background = ("background",) if self._find_heads.is_thorough else ()
        return frozenset({kind for kind in layers.kinds if kind is not None} | boxes | set(background))

    def paint(
        self,
        image: Image.Image,
        layers: Layers,
        shown: Collection[str],
        *,
        tokens: TokenSource | None = None,
    ) -> Image.Image:
        """Show some kinds of a picture, and cover all others.

        Args:
            image: The picture.
            layers: What :meth:`look` found in it.
            shown: Kinds.
            tokens: Names what is covered. Default: a new source of the engine's own.
        """
        return self._drafted(image, layers, shown).finished(self._tokens() if tokens is None else tokens)

    def _drafted(self, image: Image.Image, layers: Layers, shown: Collection[str]) -> WordsDraft:
        verdicts = covering(layers.verdicts, layers.kinds, shown)
        _, crisp = plates_of(layers.words, verdicts, TokenNumbers(), image.size)
        result = self._without_words(layers, frozenset(shown))
        cut_in(result, image, pieces_of(crisp, layers.words))
        cover(result, [box for kind, boxes in layers.boxes.items() if kind not in shown for box in boxes])
        return WordsDraft(result, layers.words, verdicts)

    def _without_words(self, layers: Layers, shown: frozenset[str]) -> Image.Image:
        """Return the small copy, or the picture without its words, with the faces and codes that are shown."""
        is_crisp = "background" in shown & self.kinds_in(layers)
        result = (layers.bare if is_crisp else layers.base).copy()
        visible = [box for kind, boxes in layers.boxes.items() if kind in shown for box in boxes]
        cut_in(result, layers.bare, [(box, 0) for box in visible])
        return result
