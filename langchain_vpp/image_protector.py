"""The one path from messages to protected messages: what :class:`ImageProtector` does, in this order.

Collect every source of pixels in every message (``blocks``), and refuse what isn't known; get each picture's
bytes (fetch, resolve a sealed handle, rasterize); decode, protect, encode; rebuild the messages. Nothing acts
on messages that were walked only in part.
"""

from __future__ import annotations

import contextvars
import hashlib
import hmac
import io
import math
import os
import re
import secrets
import threading
import time
import warnings
from collections import Counter, OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeVar

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler, BaseCallbackManager
from PIL import Image

from langchain_vpp.errors import ProtectionError, TraceLeakWarning
from langchain_vpp.images.codec import (
    ScaledImage,
    decode_image,
    decode_scaled,
    encode_scaled,
    resized,
    strip_metadata,
)
from langchain_vpp.images.fast import fast_module
from langchain_vpp.messages.plan import ContentPolicy, PixelSource
from langchain_vpp.messages.walk import coerce_messages, plan_messages
from langchain_vpp.network.config import working_size
from langchain_vpp.providers import fit_size, within

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from langchain_core.callbacks import Callbacks
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import RunnableConfig
    from langchain_core.stores import ByteStore

    from langchain_vpp.engines import Engine

_T = TypeVar("_T")

LEVEL_KEY: Final = "vpp_level"
"""The key of ``config["configurable"]`` that asks for a level for one request."""

_HANDLE: Final = re.compile(r"\Avpp://([0-9a-f]{64})\Z")
_STORE_PREFIX: Final = "vpp-"
# A digest and a few numbers each. One that is pushed out costs a second protection, never a leak.
_REMEMBERED_OUTPUTS: Final = 16_384
# What a JPEG can hold.
_MAX_SIDE: Final = 65_500
# What an entry of the memo takes beside its encoded pictures: measured at about 700 bytes.
_ENTRY_BYTES: Final = 1_024

_Key = tuple[bytes, float, bool]
OutputSize = Literal["same", "fit"] | int | tuple[int, int]
"""What ``ImageProtector(output_size=...)`` takes."""


@dataclass(frozen=True, slots=True)
class SentImage:
    """What a receipt says of one protected picture.

    Attributes:
        sha256: Digest, in hex, of the encoded bytes that were sent.
        level: The level at which it was protected.
        milliseconds: The time it took to decode, protect and encode it, when that was done.
        original_sha256: Digest of the original file, only if the protector was told to keep it: it identifies
            the picture to anyone who has it.
    """

    sha256: str
    level: float
    milliseconds: float
    original_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What left: every picture of one request, and what protected it."""

    images: tuple[SentImage, ...]
    engine: str
    artifact: str | None

    def as_metadata(self) -> dict[str, Any]:
        """The value of ``response_metadata["vpp"]``: plain JSON."""
        images = []
        for sent in self.images:
            entry: dict[str, Any] = {"sha256": sent.sha256, "level": sent.level, "ms": sent.milliseconds}
            if sent.original_sha256 is not None:
                entry["original_sha256"] = sent.original_sha256
            images.append(entry)
        return {"images": images, "engine": self.engine, "artifact": self.artifact}


class Admission(NamedTuple):
    """Messages that may leave, and the receipt for them."""

    messages: list[BaseMessage]
    receipt: Receipt


class _Output(NamedTuple):
    encoded: bytes
    sent: SentImage


class _Memo:
    """Least recently used protected pictures, bounded by the bytes that they take."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[_Key, tuple[_Output, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: _Key) -> tuple[_Output, ...] | None:
        with self._lock:
            outputs = self._entries.get(key)
            if outputs is not None:
                self._entries.move_to_end(key)
            return outputs

    def put(self, key: _Key, outputs: tuple[_Output, ...]) -> tuple[_Output, ...]:
        """Keep ``outputs``, unless another thread was faster: then its outputs, so that all callers agree."""
        size = _entry_size(outputs)
        with self._lock:
            if key in self._entries:
                return self._entries[key]
            if size > self._max_bytes:
                return outputs
            self._entries[key] = outputs
            self._bytes += size
            while self._bytes > self._max_bytes:
                _, dropped = self._entries.popitem(last=False)
                self._bytes -= _entry_size(dropped)
            return outputs


def _content_digest(data: bytes) -> bytes:
    """What the memo knows a file by: BLAKE3 (extra ``fast``), a tenth of SHA-256's time, else SHA-256."""
    if blake3 := fast_module("blake3"):
        return bytes(blake3.blake3(data).digest())
    return hashlib.sha256(data).digest()


def _entry_size(outputs: tuple[_Output, ...]) -> int:
    return sum(_ENTRY_BYTES + len(output.encoded) for output in outputs)


class _Produced:
    """Digests of what this protector has put out, so that its own pictures are known again."""

    def __init__(self) -> None:
        self._entries: OrderedDict[tuple[int, str], dict[float, SentImage]] = OrderedDict()
        # A file of another length need not be digested: that costs as much as a tenth of all that is done to it.
        self._lengths: Counter[int] = Counter()
        self._lock = threading.Lock()

    def add(self, outputs: tuple[_Output, ...]) -> None:
        with self._lock:
            for output in outputs:
                key = (len(output.encoded), output.sent.sha256)
                if key not in self._entries:
                    self._entries[key] = {}
                    self._lengths[key[0]] += 1
                self._entries[key][output.sent.level] = output.sent
                self._entries.move_to_end(key)
            while len(self._entries) > _REMEMBERED_OUTPUTS:
                (length, _), _ = self._entries.popitem(last=False)
                self._lengths[length] -= 1
                if not self._lengths[length]:
                    del self._lengths[length]

    def find(self, data: bytes, level: float, *, at_least: float) -> SentImage | None:
        """The record of a picture of ours that is private enough: at ``level``, else the strongest."""
        if len(data) not in self._lengths:
            return None
        key = (len(data), hashlib.sha256(data).hexdigest())
        with self._lock:
            levels = self._entries.get(key)
            if levels is None or max(levels) < at_least:
                return None
            self._entries.move_to_end(key)
            return levels[level] if level in levels else levels[max(levels)]


class ImageProtector:
    """Protects every picture in messages, or refuses the messages.

    Thread-safe, and immutable once built. The same picture at the same level gives the same bytes. A picture
    that this very object has put out passes unchanged, unless a stronger level is asked for by name.

    ``protector | model`` is ``protect(model, protector)``.

    Args:
        engine: What changes the pixels; see :class:`~langchain_vpp.engines.Engine`.
        level: 0 (most useful) to 1 (most private), for requests that name none.
        min_level: What a request can't go below; a lower request is raised to it. In [0, 1].
        fetch: ``url -> bytes`` for remote pictures with ``on_remote_url="fetch"``. Default: our own fetcher,
            which refuses private addresses.
        on_unsupported: What to do with content that can't be protected: refuse the request, or put a note in
            the place of the content. Nothing ever passes.
        on_remote_url: Refuse remote pictures, or fetch and protect them.
        on_document: Refuse PDF documents, or turn each page into a protected picture (extra ``documents``).
        on_upstream_trace: What to do when an enclosing run with handlers has already recorded the original.
        store: Where sealed originals are kept; needed for :meth:`seal` and for ``vpp://`` handles.
        output_size: How large protected pictures are: as the original (``"same"``); as large as every main provider
            keeps them, which saves upload and often tokens (``"fit"``, see :mod:`langchain_vpp.providers`);
            or at most so many pixels along the longest side, or within such a width and height. Never larger than
            the original, and never with more detail than the engine lets through.
        memo_bytes: Bound on the protected pictures that are kept for the next turn of a conversation.
        receipt_original_digest: Whether receipts name the originals' digests too. They identify the pictures.

    Raises:
        ValueError: If a level is not in [0, 1], ``level < min_level``, or an option or a size is unknown.
        TypeError: If ``engine`` has no ``protect``.
    """

    __slots__ = (
        "__weakref__",
        "_artifact",
        "_engine",
        "_engine_name",
        "_fetch",
        "_level",
        "_memo",
        "_min_level",
        "_on_upstream_trace",
        "_output_size",
        "_policy",
        "_produced",
        "_receipt_original_digest",
        "_seal_key",
        "_store",
        "_working_resolution",
    )

    _artifact: str | None
    _engine: Engine
    _engine_name: str
    _fetch: Callable[[str], bytes] | None
    _level: float
    _memo: _Memo
    _min_level: float
    _on_upstream_trace: Literal["warn", "raise", "ignore"]
    _output_size: OutputSize
    _policy: ContentPolicy
    _produced: _Produced
    _receipt_original_digest: bool
    _seal_key: bytes
    _store: ByteStore | None
    _working_resolution: int | None

    def __init__(
        self,
        engine: Engine,
        *,
        level: float = 0.5,
        min_level: float = 0.0,
        fetch: Callable[[str], bytes] | None = None,
        on_unsupported: Literal["raise", "drop"] = "raise",
        on_remote_url: Literal["raise", "fetch"] = "raise",
        on_document: Literal["raise", "rasterize"] = "raise",
        on_upstream_trace: Literal["warn", "raise", "ignore"] = "warn",
        store: ByteStore | None = None,
        output_size: OutputSize = "same",
        memo_bytes: int = 64 * 2**20,
        receipt_original_digest: bool = False,
    ) -> None:
        if not callable(getattr(engine, "protect", None)):
            msg = "engine must have a method protect(image, level)"
            raise TypeError(msg)
        choices: tuple[tuple[str, str, tuple[str, ...]], ...] = (
            ("on_unsupported", on_unsupported, ("raise", "drop")),
            ("on_remote_url", on_remote_url, ("raise", "fetch")),
            ("on_document", on_document, ("raise", "rasterize")),
            ("on_upstream_trace", on_upstream_trace, ("warn", "raise", "ignore")),
        )
        for option, value, allowed in choices:
            if value not in allowed:
                msg = f"{option} must be one of {', '.join(allowed)}"
                raise ValueError(msg)
        if memo_bytes < 0:
            msg = "memo_bytes must not be negative"
            raise ValueError(msg)
        name = getattr(engine, "name", None)
        digest = getattr(engine, "digest", None)
        resolution = getattr(engine, "working_resolution", None)
        settings: dict[str, Any] = {
            "_engine": engine,
            "_engine_name": name if isinstance(name, str) else type(engine).__name__,
            "_artifact": digest if isinstance(digest, str) else None,
            "_level": _checked_level(level),
            "_min_level": _checked_level(min_level),
            "_fetch": fetch,
            "_policy": ContentPolicy(
                on_unsupported=on_unsupported, on_remote_url=on_remote_url, on_document=on_document
            ),
            "_on_upstream_trace": on_upstream_trace,
            "_store": store,
            "_output_size": _checked_output_size(output_size),
            "_working_resolution": resolution if type(resolution) is int and resolution > 0 else None,
            "_receipt_original_digest": receipt_original_digest,
            "_memo": _Memo(memo_bytes),
            "_produced": _Produced(),
            "_seal_key": secrets.token_bytes(32),
        }
        if settings["_level"] < settings["_min_level"]:
            msg = "level must not be below min_level"
            raise ValueError(msg)
        for slot, value in settings.items():
            object.__setattr__(self, slot, value)

    def __setattr__(self, name: str, value: object) -> None:
        msg = "An ImageProtector can't be changed; build another one"
        raise AttributeError(msg)

    def __delattr__(self, name: str) -> None:
        msg = "An ImageProtector can't be changed; build another one"
        raise AttributeError(msg)

    def __repr__(self) -> str:
        return (
            f"ImageProtector(engine={self._engine_name!r}, level={self._level}, min_level={self._min_level})"
        )

    def __reduce__(self) -> str | tuple[Any, ...]:
        msg = "An ImageProtector can't be pickled; build one in each process"
        raise TypeError(msg)

    @classmethod
    def from_pretrained(
        cls, source: str | Path, *, level: float | str | None = None, **options: Any
    ) -> ImageProtector:
        """Load a trained protector.

        Args:
            source: The folder of an artifact, or ``"default"`` for the one that we ship.
            level: As in the constructor; or one of the artifact's presets, such as ``"low"``. By default its
                ``"balanced"``, or 0.5 if it has none.
            **options: The constructor's other options.

        Raises:
            ArtifactError: If the artifact is missing, altered or of another format.
            ValueError: If it has no preset of that name.
        """
        from langchain_vpp.artifact import level_of, load_artifact  # noqa: PLC0415  onnxruntime or torch

        _, engine, manifest, _ = load_artifact(source)
        return cls(engine, level=level_of(manifest, level), **options)

    def __or__(self, other: Any) -> Any:
        """Protect what stands to the right: a chat model, or any other Runnable, function or mapping."""
        from langchain_core.runnables.base import coerce_to_runnable  # noqa: PLC0415

        from langchain_vpp.runnables.chat_model import protect  # noqa: PLC0415  it imports this module

        return protect(coerce_to_runnable(other), self)

    def __ror__(self, other: Any) -> Any:
        msg = (
            "A protector can't stand inside a chain: the run of the chain would record the original. Protect "
            "the model (prompt | protect(model, protector)), or the whole chain (protect(chain, protector))."
        )
        raise TypeError(msg)

    def protect_messages(
        self, messages: LanguageModelInput, *, level: float | None = None
    ) -> list[BaseMessage]:
        """Return new messages in which every picture is protected. The input is not changed.

        Args:
            messages: Whatever a chat model takes: text, messages, message-likes, a prompt value.
            level: In [0, 1]; ``min_level`` is the floor. Default: the protector's level.

        Raises:
            ProtectionError: If anything in the messages can't be protected.
        """
        return self.admit(messages, level=level).messages

    async def aprotect_messages(
        self, messages: LanguageModelInput, *, level: float | None = None
    ) -> list[BaseMessage]:
        """As :meth:`protect_messages`; the work is done in a thread, so the event loop is never held up."""
        return (await self.aadmit(messages, level=level)).messages

    def protect_image(
        self, image: Image.Image | bytes | str | Path, level: float | None = None
    ) -> Image.Image:
        """Protect one picture.

        Args:
            image: A picture, the bytes of an encoded one, or a file.
            level: In [0, 1]; ``min_level`` is the floor. Default: the protector's level.

        Returns:
            A new upright RGB image without metadata. Its size is that of the upright original, or what
            ``output_size`` makes of it.

        Raises:
            ProtectionError: If the picture can't be read, decoded or protected.
        """
        picture = decode_scaled(_image_bytes(image), self._seen_size)
        protected = self._run_engine(picture.image, self._effective(level))
        size = self._sent_size(*picture.original_size)
        return protected if protected.size == size else protected.resize(size, Image.Resampling.BICUBIC)

    def protect_encoded(self, data: bytes, level: float | None = None) -> bytes:
        """Protect one picture from bytes to bytes: what a chat model would be sent.

        Faster than encoding what :meth:`protect_image` returns, because nothing is held at full size.

        Args:
            data: An encoded picture.
            level: In [0, 1]; ``min_level`` is the floor. Default: the protector's level.

        Returns:
            A baseline JPEG without metadata.

        Raises:
            ProtectionError: If the picture can't be decoded or protected.
        """
        return self._encoded(decode_scaled(data, self._seen_size), self._effective(level))

    def seal(self, image: Image.Image | bytes | str | Path) -> dict[str, str]:
        """Put an original away, and return a content block with a handle in its place.

        The handle is a keyed digest: it tells nothing about the picture to whoever doesn't have the store. It
        is resolved, and the picture protected, where the messages enter a protected model. Prompts, traces
        and checkpoints then hold no pixels at all.

        Args:
            image: A picture, the bytes of an encoded one, or a file.

        Returns:
            ``{"type": "image", "url": "vpp://<64 hex digits>"}``.

        Raises:
            ProtectionError: If there is no store, it fails, or the picture can't be decoded.
        """
        store = self._store
        if store is None:
            msg = "There is no store for sealed pictures. Build the protector with one: store=..."
            raise ProtectionError(msg)
        data = _image_bytes(image)
        decode_image(data)
        handle = hmac.new(self._seal_key, data, hashlib.sha256).hexdigest()
        _call_foreign("store", lambda: store.mset([(_STORE_PREFIX + handle, data)]))
        return {"type": "image", "url": f"vpp://{handle}"}

    async def aseal(self, image: Image.Image | bytes | str | Path) -> dict[str, str]:
        """As :meth:`seal`, in a thread."""
        return await _in_thread(self.seal, image)

    def admit(
        self, messages: LanguageModelInput, *, level: float | None = None, callbacks: Callbacks = None
    ) -> Admission:
        """What every protected entry point calls: protect, and look for enclosing runs that saw the original.

        Args:
            messages: As in :meth:`protect_messages`.
            level: The level that this request names, or None.
            callbacks: The callbacks of the request's config.

        Raises:
            ProtectionError: If anything can't be protected, or an enclosing run with handlers has recorded an
                original and ``on_upstream_trace="raise"``.
        """
        admission, exposed = self._admit(messages, level)
        self._check_upstream(callbacks, exposed=exposed)
        return admission

    async def aadmit(
        self, messages: LanguageModelInput, *, level: float | None = None, callbacks: Callbacks = None
    ) -> Admission:
        """As :meth:`admit`; the work is done in a thread."""
        admission, exposed = await _in_thread(self._admit, messages, level)
        self._check_upstream(callbacks, exposed=exposed)
        return admission

    def _admit(self, messages: LanguageModelInput, level: float | None) -> tuple[Admission, bool]:
        plan = plan_messages(coerce_messages(messages), self._policy)
        exposed = False
        effective = self._effective(level)
        at_least = self._min_level if level is None else effective
        wanted: list[_Key | _Output] = []
        originals: dict[_Key, bytes] = {}
        for source in plan.sources:
            data = self._source_bytes(source)
            own = None
            if source.data is not None:
                own = self._produced.find(data, effective, at_least=at_least)
            if own is not None:
                wanted.append(_Output(data, own))
                continue
            exposed = exposed or source.kind != "sealed"
            key = (_content_digest(data), effective, source.kind == "document")
            wanted.append(key)
            originals[key] = data
        made = self._protect_all(originals)
        outputs = [(each,) if isinstance(each, _Output) else made[each] for each in wanted]
        receipt = Receipt(
            tuple(output.sent for each in outputs for output in each), self._engine_name, self._artifact
        )
        rebuilt = plan.rebuild([[output.encoded for output in each] for each in outputs])
        return Admission(rebuilt, receipt), exposed

    def _protect_all(self, originals: Mapping[_Key, bytes]) -> dict[_Key, tuple[_Output, ...]]:
        """Protect several files, each once and in a thread of its own."""
        made = {key: outputs for key in originals if (outputs := self._memo.get(key)) is not None}
        missing = [key for key in originals if key not in made]
        if len(missing) > 1:
            # A pool per request: nothing to share, to shut down, or to break in a process that forks.
            with ThreadPoolExecutor(min(len(missing), usable_cpus()), thread_name_prefix="vpp") as pool:
                running = [
                    pool.submit(contextvars.copy_context().run, self._protect_file, originals[key], key)
                    for key in missing
                ]
                try:
                    made |= {key: each.result() for key, each in zip(missing, running, strict=True)}
                finally:
                    pool.shutdown(cancel_futures=True)
        else:
            made |= {key: self._protect_file(originals[key], key) for key in missing}
        for outputs in made.values():
            self._produced.add(outputs)
        return made

    def _protect_file(self, data: bytes, key: _Key) -> tuple[_Output, ...]:
        _, level, is_document = key
        started = time.perf_counter()
        if is_document:
            pictures = [
                ScaledImage(resized(page, self._seen_size(*page.size)), page.size)
                for page in _rasterize(data)
            ]
        else:
            pictures = [decode_scaled(data, self._seen_size)]
        original = hashlib.sha256(data).hexdigest() if self._receipt_original_digest else None
        made = []
        for picture in pictures:
            encoded = self._encoded(picture, level)
            now = time.perf_counter()
            sent = SentImage(
                hashlib.sha256(encoded).hexdigest(), level, round((now - started) * 1000, 3), original
            )
            made.append(_Output(encoded, sent))
            started = now
        return self._memo.put(key, tuple(made))

    def _encoded(self, picture: ScaledImage, level: float) -> bytes:
        protected = self._run_engine(picture.image, level)
        return encode_scaled(protected, self._sent_size(*picture.original_size))

    def _seen_size(self, width: int, height: int) -> tuple[int, int]:
        """The size at which the engine is given a picture: no larger than it looks at, or than what leaves."""
        if self._working_resolution is not None:
            return working_size(width, height, self._working_resolution)
        return self._sent_size(width, height)

    def _sent_size(self, width: int, height: int) -> tuple[int, int]:
        """The size at which a picture leaves."""
        if self._output_size == "same":
            return width, height
        if self._output_size == "fit":
            return fit_size(width, height)
        box = self._output_size
        return within(width, height, (box, box) if isinstance(box, int) else box)

    def _source_bytes(self, source: PixelSource) -> bytes:
        if source.data is not None:
            return source.data
        if source.reference is None:
            raise ProtectionError("A picture had neither data nor an address, so nothing was sent.")
        if source.kind == "sealed":
            return self._unseal(source.reference)
        return self._fetched(source.reference)

    def _fetched(self, url: str) -> bytes:
        fetch = self._fetch
        if fetch is None:
            from langchain_vpp.fetch import fetch_image  # noqa: PLC0415  an HTTP client

            return fetch_image(url)
        data = _call_foreign("fetch function", lambda: fetch(url))
        if not isinstance(data, bytes):
            raise ProtectionError("The fetch function did not return bytes, so nothing was sent.")
        return data

    def _unseal(self, url: str) -> bytes:
        match = _HANDLE.match(url)
        if match is None:
            raise ProtectionError(
                "A vpp:// handle is malformed, so nothing was sent. Use the block that seal() gave."
            )
        store = self._store
        if store is None:
            raise ProtectionError(
                "A vpp:// handle can't be resolved without a store. Give the protector the one that has it."
            )
        key = _STORE_PREFIX + match.group(1)
        data = _call_foreign("store", lambda: store.mget([key])[0])
        if not isinstance(data, bytes):
            raise ProtectionError(
                "A vpp:// handle is unknown to the store, so nothing was sent. Seal the picture again."
            )
        return data

    def _run_engine(self, image: Image.Image, level: float) -> Image.Image:
        size = image.size
        protected = _call_foreign("engine", lambda: self._engine.protect(image, level))
        if not isinstance(protected, Image.Image) or protected is image:
            raise ProtectionError("The engine did not return a new picture, so nothing was sent.")
        if protected.mode != "RGB" or protected.size != size:
            raise ProtectionError(
                "The engine did not return an RGB picture of the same size, so nothing was sent."
            )
        # Pixels only: an engine that carried `info` over would carry metadata over.
        return _call_foreign("engine", lambda: strip_metadata(protected))

    def _effective(self, level: float | None) -> float:
        return self._level if level is None else max(checked_request_level(level), self._min_level)

    def _check_upstream(self, callbacks: Callbacks, *, exposed: bool) -> None:
        if not exposed or self._on_upstream_trace == "ignore" or not _recorded_upstream(callbacks):
            return
        msg = (
            "An enclosing run with callbacks or tracers has recorded the unprotected input. Protect the "
            "outermost runnable (protect(chain, protector)), or put sealed handles (protector.seal) into it."
        )
        if self._on_upstream_trace == "raise":
            raise ProtectionError(msg)
        warnings.warn(msg, TraceLeakWarning, stacklevel=3)


async def _in_thread(function: Callable[..., _T], *arguments: Any) -> _T:
    """Call a function in a thread of the loop's pool."""
    from langchain_core.runnables.config import run_in_executor  # noqa: PLC0415  it imports much

    return await run_in_executor(None, function, *arguments)


def requested_level(config: RunnableConfig | None) -> float | None:
    """The level that a request names in ``config["configurable"]["vpp_level"]``, or None.

    The config of the enclosing run counts too, as for every other configurable key.

    Raises:
        ProtectionError: If it is not a number in [0, 1].
    """
    from langchain_core.runnables.config import ensure_config  # noqa: PLC0415  it imports much

    level = ensure_config(config).get("configurable", {}).get(LEVEL_KEY)
    return None if level is None else checked_request_level(level)


def checked_request_level(level: Any) -> float:
    """As :func:`_checked_level`, for what came with a request.

    Raises:
        ProtectionError: If ``level`` is not a number in [0, 1].
    """
    if not _is_level(level):
        raise ProtectionError(f"{LEVEL_KEY} must be a number from 0 to 1; nothing was sent.")
    return float(level)


def _checked_level(level: Any) -> float:
    if not _is_level(level):
        msg = "level and min_level must be numbers from 0 to 1"
        raise ValueError(msg)
    return float(level)


def _is_level(level: Any) -> bool:
    if isinstance(level, bool) or not isinstance(level, (int, float)):
        return False
    return math.isfinite(level) and 0 <= level <= 1


def _checked_output_size(size: Any) -> OutputSize:
    if size in ("same", "fit"):
        return "same" if size == "same" else "fit"
    sides = (size,) if not isinstance(size, tuple) else size
    if len(sides) not in (1, 2) or not all(type(side) is int and 0 < side <= _MAX_SIDE for side in sides):
        msg = f"output_size must be same, fit, or one or two numbers of pixels from 1 to {_MAX_SIDE}"
        raise ValueError(msg)
    return size if isinstance(size, int) else (sides[0], sides[-1])


def usable_cpus() -> int:
    """How many CPUs this process may use: a container may give it fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _image_bytes(image: Image.Image | bytes | str | Path) -> bytes:
    """The encoded bytes of whatever a caller may call a picture."""
    if isinstance(image, (bytes, bytearray, memoryview)):
        return bytes(image)
    if isinstance(image, (str, Path)):
        return _call_foreign("file system", Path(image).read_bytes)
    if not isinstance(image, Image.Image):
        raise ProtectionError("A picture must be a PIL image, encoded bytes or a path.")
    picture = image if image.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") else image.convert("RGB")
    buffer = io.BytesIO()
    options = {"exif": image.getexif(), "icc_profile": image.info.get("icc_profile"), "compress_level": 1}
    _call_foreign("PNG encoder", lambda: picture.save(buffer, "PNG", **options))
    return buffer.getvalue()


def _rasterize(data: bytes) -> list[Image.Image]:
    from langchain_vpp.images.pdf import rasterize_pdf  # noqa: PLC0415  extra `documents`

    return rasterize_pdf(data)


def _call_foreign(what: str, call: Callable[[], _T]) -> _T:
    """Call code that isn't ours. Its exception may carry content, so it is replaced, not chained."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001  whatever it is, ours is raised
        failure = type(error).__name__
    raise ProtectionError(f"The {what} failed with {failure}, so nothing was sent.")


def _recorded_upstream(callbacks: Callbacks) -> bool:
    """Whether an enclosing run exists, and a handler that is told of its input."""
    if not isinstance(callbacks, BaseCallbackManager) or callbacks.parent_run_id is None:
        return False
    return any(_records_inputs(handler) for handler in (*callbacks.handlers, *callbacks.inheritable_handlers))


def _records_inputs(handler: BaseCallbackHandler) -> bool:
    """Whether a handler does anything when a chain or a tool starts."""
    if getattr(handler, "redacts_media", False):
        return False
    listens_to_chains = not handler.ignore_chain and _does_something(handler, "on_chain_start")
    return listens_to_chains or (not handler.ignore_agent and _does_something(handler, "on_tool_start"))


def _does_something(handler: BaseCallbackHandler, event: str) -> bool:
    # Of the object, not of its class: a handler may answer for events in any way.
    function = getattr(getattr(handler, event), "__func__", None)
    return function not in (getattr(BaseCallbackHandler, event), getattr(AsyncCallbackHandler, event))
