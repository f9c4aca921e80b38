"""Sources of pixels in messages: read, known again or protected, within the budget of the request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_vpp.errors import ProtectionError
from langchain_vpp.guard.memo import Output, Recipe, content_digest
from langchain_vpp.images.video import video_format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_vpp.engines.words.tokens import TokenSource
    from langchain_vpp.guard.budget import Account
    from langchain_vpp.guard.memo import FileKind, ProducedPictures
    from langchain_vpp.guard.originals import Originals
    from langchain_vpp.guard.pictures import PicturePipeline
    from langchain_vpp.guard.pool import Steps
    from langchain_vpp.messages.plan import ContentPolicy, PixelSource


class Sources:
    """Protects what a walk has found.

    Args:
        originals: Reads the bytes of a source.
        pipeline: Protects them.
        produced: Pictures that were put out, which pass unchanged; it gets the new ones.
        policy: Reactions to content that is not simply a picture.
    """

    def __init__(
        self,
        originals: Originals,
        pipeline: PicturePipeline,
        produced: ProducedPictures,
        policy: ContentPolicy,
    ) -> None:
        self._originals = originals
        self._pipeline = pipeline
        self._produced = produced
        self._policy = policy

    def protect(
        self, sources: Sequence[PixelSource], level: float, account: Account, tokens: TokenSource
    ) -> Steps[tuple[list[tuple[Output, ...]], bool]]:
        """Return the protected pictures of each source, and whether one was an original that travelled openly.

        The work that has to be waited for is yielded.

        Args:
            sources: What a walk has found, in the order of the messages.
            level: Level of protection.
            account: The request that asks.
            tokens: Names private values, where the engine tells them.

        Raises:
            ProtectionError: If any of them can't be read or protected, or all are more than the request may cost.
        """
        exposed = False
        wanted: list[Recipe | Output] = []
        originals: dict[Recipe, bytes] = {}
        read = yield from self._originals.read(sources, account)
        for source, data in zip(sources, read, strict=True):
            own = None
            if source.data is not None:
                own = self._produced.find(data, level)
            if own is not None:
                wanted.append(Output(data, own))
                continue
            exposed = exposed or source.kind != "sealed"
            recipe = Recipe(content_digest(data), level, self._kind_of(source, data))
            wanted.append(recipe)
            originals[recipe] = data
        made = yield from self._pipeline.protect_files(originals, account, tokens)
        for outputs in made.values():
            self._produced.add(outputs)
        return [(each,) if isinstance(each, Output) else made[each] for each in wanted], exposed

    def _kind_of(self, source: PixelSource, data: bytes) -> FileKind:
        if source.kind in ("document", "video", "film"):
            return source.kind
        if source.kind == "sealed" and data.startswith(b"%PDF-"):
            self._require("on_document", "rasterize", "a sealed PDF can't be sent as it is", "its pages")
            return "document"
        if source.kind == "sealed" and video_format(data) is not None:
            if self._policy.on_video == "encode":
                return "film"
            self._require("on_video", "sample", "a sealed video can't be sent as it is", "frames of it")
            return "video"
        return "image"

    def _require(self, option: str, value: str, reason: str, sent: str) -> None:
        if getattr(self._policy, option) != value:
            raise ProtectionError(f'Nothing was sent: {reason}; set {option}="{value}" to send {sent}.')
