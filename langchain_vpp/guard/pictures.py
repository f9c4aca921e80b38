"""Single pictures: decode, run the engine, encode, each at the size that is needed."""

from __future__ import annotations

import hashlib
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeVar

from PIL import Image

from langchain_vpp.engines.clip import steadied
from langchain_vpp.engines.engine import DraftingEngine, finished_draft, judged_by
from langchain_vpp.errors import ProtectionError
from langchain_vpp.guard.files import FilePicture, film_of, frames_of, pages_of, protected_video
from langchain_vpp.guard.foreign import call_foreign
from langchain_vpp.guard.memo import FoundValues, Output, PictureMemo, Recipe
from langchain_vpp.guard.pool import ISOLATED, LARGE, SMALL, SMALL_COST
from langchain_vpp.guard.receipt import SentImage
from langchain_vpp.guard.unfamiliar import ProtectedFile, Unfamiliar
from langchain_vpp.images.bounds import TOO_LARGE
from langchain_vpp.images.codec import (
    ScaledImage,
    decode_scaled,
    decoding_work,
    encode_scaled,
    is_isolated,
)
from langchain_vpp.images.structure import look_at
from langchain_vpp.network.config import working_size
from langchain_vpp.providers import fit_size, within

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future

    from langchain_vpp.engines import Draft, Engine
    from langchain_vpp.engines.words.tokens import TokenSource
    from langchain_vpp.guard.budget import Account
    from langchain_vpp.guard.memo import Values
    from langchain_vpp.guard.pool import FairPool, Steps
    from langchain_vpp.guard.unfamiliar import OnUnfamiliar, Protected
    from langchain_vpp.images.structure import Structure

_T = TypeVar("_T")

OutputSize = Literal["same", "fit"] | int | tuple[int, int]
"""Values of ``ImageProtector(output_size=...)``."""

_KNOWN_PICTURES: Final = 4_096
"""Pictures whose private values are kept, so that they need not be read again."""
_AT_ONCE: Final = 4
"""Files that are drafted side by side: a draft holds a picture at its full size."""
# The largest side of a JPEG.
_MAX_SIDE: Final = 65_500


class PicturePipeline:
    """Protects encoded pictures. Thread-safe.

    Args:
        engine: Rewrites the pixels.
        output_size: The size at which pictures leave; see ``ImageProtector``.
        memo_bytes: Bound on the protected pictures that are kept.
        names_originals: Whether records name the digests of the originals.
        on_unfamiliar: Reaction to a picture that the engine was not made for.

    Raises:
        TypeError: If ``engine`` has no ``protect``.
        ValueError: If the size or the reaction is unknown, or the bound negative.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        output_size: OutputSize,
        memo_bytes: int,
        names_originals: bool,
        on_unfamiliar: OnUnfamiliar = "cover",
    ) -> None:
        if not callable(getattr(engine, "protect", None)):
            msg = (
                f"nothing was set up: a {type(engine).__name__} is no engine: it has no method protect(image, level). "
                "Give one of langchain_vpp.engines, such as Pixelate(), or load an artifact with from_pretrained(name)"
            )
            raise TypeError(msg)
        if memo_bytes < 0:
            msg = "memo_bytes must not be negative"
            raise ValueError(msg)
        name = getattr(engine, "name", None)
        digest = getattr(engine, "digest", None)
        resolution = getattr(engine, "working_resolution", None)
        self.engine_name = name if isinstance(name, str) else type(engine).__name__
        self.artifact = digest if isinstance(digest, str) else None
        self._engine = engine
        self._sizes = _Sizes(
            _checked_output_size(output_size),
            resolution if type(resolution) is int and resolution > 0 else None,
        )
        self._memo = PictureMemo(memo_bytes)
        self._drafting = engine if isinstance(engine, DraftingEngine) else None
        self._values = FoundValues(_KNOWN_PICTURES if memo_bytes else 0)
        self._names_originals = names_originals
        self._unfamiliar = Unfamiliar(on_unfamiliar)

    @property
    def names_values(self) -> bool:
        """Whether the engine names private values, for which each conversation has a vault."""
        return self._drafting is not None

    def protect_image(self, data: bytes, level: float, account: Account) -> Image.Image:
        """Decode and protect a picture, in the thread of the caller.

        Raises:
            ProtectionError: If it can't be decoded or protected, or is more than the request may cost.
        """
        picture = self.decoded(data, account)
        protected = self._run_engine(picture.image, level).image
        size = self._sizes.sent(*picture.original_size)
        return protected if protected.size == size else protected.resize(size, Image.Resampling.BICUBIC)

    def protect_encoded(self, data: bytes, level: float, account: Account) -> ProtectedFile:
        """Protect a picture from encoded bytes to the bytes of a JPEG, in the thread of the caller.

        Raises:
            ProtectionError: If it can't be decoded, protected or encoded, or is more than the request may cost.
        """
        return self._encoded(self.decoded(data, account), level, account)

    def protect_video(self, data: bytes, level: float, account: Account) -> bytes:
        """Protect a video, in the thread of the caller; see :func:`langchain_vpp.guard.files.protected_video`."""
        account.spend_bytes(len(data))
        protect = partial(self._run_engine, level=level)
        return protected_video(data, account, protect, self._sizes.seen, self._sizes.sent).encoded

    def decoded(self, data: bytes, account: Account) -> ScaledImage:
        """Decode the only picture of a request, at the size that the engine gets.

        Raises:
            ProtectionError: If it can't be decoded, or is more than the request may cost.
        """
        account.spend_pictures(1)
        account.spend_bytes(len(data))
        return self._decoded(data, None, account)

    def protect_files(
        self, originals: Mapping[Recipe, bytes], account: Account, tokens: TokenSource
    ) -> Steps[dict[Recipe, tuple[Output, ...]]]:
        """Protect pictures and PDFs, each once; those in the memo are taken from there.

        The work that has to be waited for is yielded.

        Args:
            originals: The files, in the order of the messages.
            account: The request that asks.
            tokens: Names private values, where the engine tells them.

        Returns:
            For each recipe, the protected picture, or the protected pages.

        Raises:
            ProtectionError: If any of them can't be decoded, protected or encoded, or all are more than the request may
                cost.
        """
        if self._drafting is not None:
            return (yield from self._name_files(originals, account, tokens))
        made = {recipe: outputs for recipe in originals if (outputs := self._memo.get(recipe)) is not None}
        missing = [recipe for recipe in originals if recipe not in made]
        if missing:
            _spend(missing, originals, account)
            futures = [
                self._submit(self._protect_file, originals[recipe], recipe, account) for recipe in missing
            ]
            made |= zip(missing, (yield futures), strict=True)
        return made

    def _name_files(
        self, originals: Mapping[Recipe, bytes], account: Account, tokens: TokenSource
    ) -> Steps[dict[Recipe, tuple[Output, ...]]]:
        """Protect files some at a time: draft them side by side, name their values in order, and finish them."""
        made: dict[Recipe, tuple[Output, ...]] = {}
        _spend([each for each in originals if self._values.get(each) is None], originals, account)
        for start in range(0, len(originals), _AT_ONCE):
            several = [*originals][start : start + _AT_ONCE]
            known = {recipe: self._values.get(recipe) for recipe in several}
            unread = [recipe for recipe in several if known[recipe] is None]
            drafts = yield from self._drafted(unread, originals, account)
            named = {}
            for recipe in several:
                values = known[recipe]
                if values is None:
                    values = self._values.put(recipe, drafts[recipe].values)
                named[recipe] = recipe._replace(tokens=tuple(tokens.token(*value) for value in values))
            kept = {recipe: self._memo.get(named[recipe]) for recipe in several}
            missing = [recipe for recipe in several if kept[recipe] is None]
            renamed = [each for each in missing if each not in drafts]
            _spend(renamed, originals, account)
            drafts |= yield from self._drafted(renamed, originals, account)
            futures = [
                self._submit(
                    partial(self._finish_file, drafts[recipe]), originals[recipe], named[recipe], account
                )
                for recipe in missing
            ]
            made |= {recipe: outputs for recipe, outputs in kept.items() if outputs is not None}
            made |= zip(missing, (yield futures) if futures else (), strict=True)
        return made

    def _drafted(
        self, recipes: Sequence[Recipe], originals: Mapping[Recipe, bytes], account: Account
    ) -> Steps[dict[Recipe, _Drafts]]:
        if not recipes:
            return {}
        futures = [self._submit(self._draft_file, originals[recipe], recipe, account) for recipe in recipes]
        return dict(zip(recipes, (yield futures), strict=True))

    def _submit(self, work: Callable[..., _T], data: bytes, recipe: Recipe, account: Account) -> Future[_T]:
        pool, cost, structure = self._line_for(data, is_picture=recipe.kind == "image")
        return pool.submit(partial(work, data, recipe, structure, account), cost=cost, account=account)

    def _line_for(self, data: bytes, *, is_picture: bool = True) -> tuple[FairPool, int, Structure | None]:
        """Return the threads that decode a file, its cost there, and its structure."""
        structure = look_at(data) if is_picture else None
        if structure is None or is_isolated(structure):
            return ISOLATED, 1, structure
        sent = self._sizes.sent(*structure.size)
        cost = decoding_work(structure, self._sizes.seen) + sent[0] * sent[1]
        return (SMALL if cost <= SMALL_COST else LARGE), cost, structure

    def _protect_file(
        self, data: bytes, recipe: Recipe, structure: Structure | None, account: Account
    ) -> tuple[Output, ...]:
        started = time.perf_counter()
        pictures = self._pictures(data, recipe, structure, account)
        decoding = (time.perf_counter() - started) / max(1, len(pictures))
        works = [
            _Work(picture, partial(self._run_engine, picture.image, recipe.level), decoding)
            for picture in pictures
        ]
        return self._put_out(works, data, recipe, account)

    def _draft_file(
        self, data: bytes, recipe: Recipe, structure: Structure | None, account: Account
    ) -> _Drafts:
        drafts = []
        for picture in self._pictures(data, recipe, structure, account):
            started = time.perf_counter()
            draft = self._draft(picture, recipe.level)
            account.check()
            drafts.append(_Drafted(draft, picture, time.perf_counter() - started))
        return _Drafts(drafts)

    def _finish_file(
        self,
        drafts: _Drafts,
        data: bytes,
        recipe: Recipe,
        structure: Structure | None,  # noqa: ARG002  for those that decode
        account: Account,
    ) -> tuple[Output, ...]:
        tokens = _Given(recipe.tokens)
        works = [
            _Work(each.picture, partial(self._finished, each, tokens), each.seconds)
            for each in drafts.pictures
        ]
        return self._put_out(works, data, recipe, account)

    def _finished(self, drafted: _Drafted, tokens: TokenSource) -> Protected:
        judged = call_foreign("engine", partial(finished_draft, drafted.draft, tokens))
        return self._unfamiliar.decided(judged, drafted.picture.image)

    def _put_out(
        self, works: Sequence[_Work], data: bytes, recipe: Recipe, account: Account
    ) -> tuple[Output, ...]:
        """Protect and encode the pictures of a file: one after the other, but the frames of a video together."""
        if recipe.kind == "film":
            return self._memo.put(recipe, (self._film(data, recipe, account),))
        steps = [works] if recipe.kind == "video" else [[work] for work in works]
        outputs: list[Output] = []
        for step in steps:
            started = time.perf_counter()
            protected = []
            for work in step:
                account.check()
                protected.append(work.protect())
            if len(step) > 1:
                steady = steadied([work.picture.image for work in step], [each.image for each in protected])
                protected = [
                    each._replace(image=image) for each, image in zip(protected, steady, strict=True)
                ]
            account.check()
            seconds = (time.perf_counter() - started) / len(step)
            outputs += [
                self._output(work, made, recipe, data, seconds)
                for work, made in zip(step, protected, strict=True)
            ]
        return self._memo.put(recipe, tuple(outputs))

    def _output(self, work: _Work, made: Protected, recipe: Recipe, data: bytes, seconds: float) -> Output:
        started = time.perf_counter()
        encoded = encode_scaled(made.image, self._sizes.sent(*work.picture.original_size))
        seconds += work.seconds + time.perf_counter() - started
        return self._recorded(ProtectedFile(encoded, made.unfamiliar), recipe, data, seconds)

    def _film(self, data: bytes, recipe: Recipe, account: Account) -> Output:
        started = time.perf_counter()
        protect = partial(self._run_engine, level=recipe.level)
        made = film_of(data, account, protect, self._sizes.seen, self._sizes.sent)
        return self._recorded(made, recipe, data, time.perf_counter() - started)

    def _recorded(self, made: ProtectedFile, recipe: Recipe, data: bytes, seconds: float) -> Output:
        original = hashlib.sha256(data).hexdigest() if self._names_originals else None
        digest, milliseconds = hashlib.sha256(made.encoded).hexdigest(), round(1000 * seconds, 3)
        sent = SentImage(digest, recipe.level, milliseconds, original, made.unfamiliar)
        return Output(made.encoded, sent, is_frame=recipe.kind == "video")

    def _pictures(
        self, data: bytes, recipe: Recipe, structure: Structure | None, account: Account
    ) -> list[FilePicture]:
        if recipe.kind == "document":
            return pages_of(data, account, self._sizes.seen, reads_words=self._drafting is not None)
        if recipe.kind == "video":
            return frames_of(data, account, self._sizes.seen)
        if recipe.kind == "film":
            return []  # its frames are decoded one by one
        decoded = self._decoded(data, structure, account)
        return [FilePicture(decoded.image, decoded.original_size)]

    def _decoded(self, data: bytes, structure: Structure | None, account: Account) -> ScaledImage:
        def seen_size(width: int, height: int) -> tuple[int, int]:
            sent = self._sizes.sent(width, height)
            if sent[0] * sent[1] > account.max_pixels:
                raise ProtectionError(TOO_LARGE.format(account.max_pixels))
            return self._sizes.seen(width, height)

        return decode_scaled(data, seen_size, bounds=account, structure=structure)

    def _encoded(self, picture: ScaledImage, level: float, account: Account) -> ProtectedFile:
        account.check()
        protected = self._run_engine(picture.image, level)
        account.check()
        encoded = encode_scaled(protected.image, self._sizes.sent(*picture.original_size))
        return ProtectedFile(encoded, protected.unfamiliar)

    def _draft(self, picture: FilePicture, level: float) -> Draft:
        engine, printed = self._drafting, picture.printed()
        assert engine is not None
        return call_foreign("engine", lambda: engine.draft(picture.image, level, printed=printed))

    def _run_engine(self, image: Image.Image, level: float) -> Protected:
        judged = call_foreign("engine", lambda: judged_by(self._engine, image, level))
        return self._unfamiliar.decided(judged, image)


def _spend(recipes: Sequence[Recipe], originals: Mapping[Recipe, bytes], account: Account) -> None:
    """Count what has to be made, before it is."""
    account.spend_pictures(len(recipes))
    account.spend_bytes(sum(len(originals[recipe]) for recipe in recipes))


class _Sizes(NamedTuple):
    """Sizes at which pictures are seen and sent, by their own width and height."""

    output: OutputSize
    working_resolution: int | None

    def seen(self, width: int, height: int) -> tuple[int, int]:
        """Return the size at which the engine gets a picture: no larger than it looks at, or than what leaves."""
        if self.working_resolution is not None:
            return working_size(width, height, self.working_resolution)
        return self.sent(width, height)

    def sent(self, width: int, height: int) -> tuple[int, int]:
        """Return the size at which a picture leaves."""
        if self.output == "same":
            return width, height
        if self.output == "fit":
            return fit_size(width, height)
        box = self.output
        return within(width, height, (box, box) if isinstance(box, int) else box)


class _Work(NamedTuple):
    """A picture of a file, what protects it, and the seconds that it took so far."""

    picture: FilePicture
    protect: Callable[[], Protected]
    seconds: float


class _Drafted(NamedTuple):
    draft: Draft
    picture: FilePicture
    seconds: float


class _Drafts:
    """Drafts of a picture, or of the pages of a document."""

    def __init__(self, pictures: list[_Drafted]) -> None:
        self.pictures = pictures
        self.values: Values = tuple(
            value for each in pictures for value in call_foreign("engine", partial(_values_of, each.draft))
        )


def _values_of(draft: Draft) -> list[tuple[str, str]]:
    return [*draft.values]


class _Given:
    """Gives out tokens that were made for the values of a file, in their order."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._tokens = iter(tokens)

    def token(self, kind: str, value: str) -> str:  # noqa: ARG002  the order tells
        return next(self._tokens)


def _checked_output_size(size: Any) -> OutputSize:
    if size in ("same", "fit"):
        return "same" if size == "same" else "fit"
    sides = (size,) if not isinstance(size, tuple) else size
    if len(sides) not in (1, 2) or not all(type(side) is int and 0 < side <= _MAX_SIDE for side in sides):
        msg = f"output_size must be same, fit, or one or two numbers of pixels from 1 to {_MAX_SIDE}"
        raise ValueError(msg)
    return size if isinstance(size, int) else (sides[0], sides[-1])
