"""The public face of the protection: a gate that loads trained artifacts and composes with Runnables."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from langchain_vpp.guard.gate import Gate
from langchain_vpp.images.given import image_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_vpp.guard.level import RequestLevel
    from langchain_vpp.runnables.restoring import Restorer

_VIDEO_SECONDS: Final = 3_600.0
_VIDEO_PIXELS: Final = 2**62  # its frames are decoded one after the other
_SCREENS: Final = "screens"
"""Name of the protector of words, which has no artifact."""


class ImageProtector(Gate):
    """Protects every picture in messages, or refuses the messages.

    Thread-safe, and immutable once built. The same picture at the same level gives the same bytes. A picture
    that this very object has put out passes unchanged, unless a request names a stronger level.

    ``protector | model`` is ``protect(model, protector)``.

    Args:
        engine: Changes the pixels; see :class:`~langchain_vpp.engines.Engine`.
        level: 0 (most useful) to 1 (most private), for requests that name none.
        min_level: Floor of the levels that requests name, in [0, 1]; a lower one is raised to it. Default: ``level``
            itself, so that a request can only ask for more.
        presets: Levels by name, which requests may use instead of numbers. ``from_pretrained`` takes those of the
            artifact.
        fetch: ``url -> bytes`` for remote pictures with ``on_remote_url="fetch"``. Default: the fetcher of this
            package, which refuses private addresses.
        on_unsupported: Refuse a request with content that can't be protected, or put a note in the place of the
            content. Nothing ever passes.
        on_remote_url: Refuse remote pictures, or fetch and protect them.
        on_document: Refuse PDF documents, or turn each page into a protected picture (extra ``documents``).
        on_video: Refuse videos, or send protected frames of them: one of each second, at most 32 (``"sample"``). Or
            send a protected film without sound, MP4 with H.264, to a model that takes videos (``"encode"``). Both need
            the extra ``video``.
        on_upstream_trace: Reaction to an enclosing run with handlers that has already recorded an original, or
            content that is dropped or refused here.
        on_unfamiliar: Reaction to a picture that is unlike those that a trained protector was made for: one grey in its
            place, which tells nothing but its size (``"cover"``); refuse the request (``"raise"``); or protect it as
            well as the protector can, with a :class:`~langchain_vpp.errors.DomainWarning` (``"warn"``). Receipts say
            so. No request can change it. Engines that know no kind of pictures, such as classical ones, are not
            concerned.
        store: Where sealed originals are kept; needed for :meth:`seal`, and for ``vpp://`` handles that outlive the
            process. Pictures in the input values of a protected chain are sealed without one, in memory.
        output_size: Size of protected pictures: as the original (``"same"``); as large as every main provider
            keeps them, which saves upload and often tokens (``"fit"``, see :mod:`langchain_vpp.providers`);
            or at most so many pixels along the longest side, or within such a width and height. Never larger
            than the original, and never with more detail than the engine lets through.
        memo_bytes: Bound on the protected pictures that are kept for the next turn of a conversation.
        receipt_original_digest: Whether receipts name the originals' digests too. They identify the pictures.
        budget: What protecting one request may cost: pictures, pixels, bytes and seconds. Default:
            :class:`RequestBudget() <langchain_vpp.guard.budget.RequestBudget>`.
        vaults: Where it is kept what tokens of each conversation (``thread_id``) stand for, with an engine that names
            private values. Default: :class:`MemoryVaults() <langchain_vpp.guard.vault.MemoryVaults>`; or
            :class:`~langchain_vpp.guard.vault.StoredVaults`, encrypted in a store.

    Raises:
        ValueError: If a level is not in [0, 1], ``level < min_level``, or an option or a size is unknown.
        TypeError: If ``engine`` has no ``protect``, or ``budget`` is no ``RequestBudget``.

    Example:
        >>> from PIL import Image
        >>> from langchain_vpp.engines import Pixelate
        >>> protector = ImageProtector(Pixelate(), level=0.7)
        >>> protector.protect_image(Image.new("RGB", (64, 48))).size
        (64, 48)
    """

    __slots__ = ()

    @classmethod
    def from_pretrained(
        cls, source: str | Path, *, level: float | str | None = None, **options: Any
    ) -> ImageProtector:
        """Load a trained protector.

        Args:
            source: The folder of an artifact, or the name of one that is shipped: ``"photographs"`` or
                ``"staff-cards"``. See :func:`~langchain_vpp.artifact.artifact_folder` for the older name ``"default"``.
                Or ``"screens"`` for :class:`~langchain_vpp.engines.words.Words`, which covers the words of screens,
                letters and documents that are not known to be harmless (extra ``words``).
            level: As in the constructor; or one of the artifact's presets, such as ``"low"``. Default: the
                preset ``"balanced"``, or 0.5 if the artifact has none.
            **options: The constructor's other options.

        Raises:
            ArtifactError: If the artifact is missing, altered or of another format.
            ValueError: If it has no preset of that name.
            MissingExtraError: If ``source`` is ``"screens"``, and the extra ``words`` is not installed.
        """
        if source == _SCREENS:
            from langchain_vpp.artifact import level_in  # noqa: PLC0415  onnxruntime or torch
            from langchain_vpp.engines.words.engine import PRESETS, Words  # noqa: PLC0415  extra `words`

            options.setdefault("presets", PRESETS)
            return cls(Words(), level=level_in(PRESETS, level), **options)
        from langchain_vpp.artifact import (  # noqa: PLC0415  onnxruntime or torch
            level_of,
            load_artifact,
            warn_of_unknown_domain,
        )

        _, engine, manifest, _ = load_artifact(source)
        warn_of_unknown_domain(manifest)
        options.setdefault("presets", manifest.presets)
        return cls(engine, level=level_of(manifest, level), **options)

    def protect_video(
        self,
        video: bytes | str | Path,
        level: RequestLevel | None = None,
        *,
        seconds: float = _VIDEO_SECONDS,
    ) -> bytes:
        """Protect every frame of a video.

        Args:
            video: The bytes of a video, or a file.
            level: In [0, 1], or a preset; ``min_level`` is the floor. Default: the protector's level.
            seconds: Time that it may take.

        Returns:
            An MP4 with H.264 of the same length, without sound, subtitles or metadata. The size of its frames is what
            ``output_size`` makes of those of the original. What one frame covers is covered in the 15 frames before it
            and in those behind it, as far as it is found there again.

        Raises:
            MissingExtraError: If the extra ``video`` is not installed.
            ProtectionError: If the video can't be read, decoded or protected, or takes longer.
        """
        budget = replace(self._budget, pixels=_VIDEO_PIXELS, seconds=seconds)
        return self._pipeline.protect_video(image_bytes(video), self._levels.effective(level), budget.open())

    def restorer(self, thread_id: str | None = None) -> Restorer:
        """Return a Runnable that puts back what this protector hid: in text, messages, structures and streams.

        Args:
            thread_id: The conversation. Default: ``config["configurable"]["thread_id"]`` of each call.

        Example:
            >>> from langchain_vpp.engines import Pixelate
            >>> ImageProtector(Pixelate()).restorer("1").invoke("NAME_1 is no token: this engine hides no words")
            'NAME_1 is no token: this engine hides no words'
        """
        from langchain_vpp.runnables.restoring import Restorer  # noqa: PLC0415  loads all Runnables

        return Restorer(self, thread_id)

    def __or__(self, other: Any) -> Any:
        """Protect the right operand, a chat model or any other Runnable, function or mapping, and what follows it."""
        from langchain_core.runnables.base import coerce_to_runnable  # noqa: PLC0415  loads all Runnables

        from langchain_vpp.runnables.chat_model import protect  # noqa: PLC0415  loads all Runnables

        return protect(coerce_to_runnable(other), self)

    def __ror__(self, other: Any) -> Any:
        msg = (
            "A protector can't stand inside a chain: the run of the chain would record the original. Protect "
            "the model (prompt | protect(model, protector)), or the whole chain (protect(chain, protector))."
        )
        raise TypeError(msg)
