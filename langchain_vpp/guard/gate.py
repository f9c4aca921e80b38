"""The one path from messages to protected messages: what :class:`ImageProtector` does, in this order.

Collect every source of pixels in every message (``blocks``), and refuse what isn't known; get each picture's
bytes (fetch, resolve a sealed handle, rasterize); decode, protect, encode; rebuild the messages. Nothing acts
on messages that were walked only in part.
"""

from __future__ import annotations

import contextvars
import hashlib
import hmac
import re
import secrets
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeVar

from PIL import Image

from langchain_vpp.errors import ProtectionError, TraceLeakWarning
from langchain_vpp.guard.foreign import call_foreign
from langchain_vpp.guard.level import checked_level, checked_request_level
from langchain_vpp.guard.memo import Key, Memo, Output, Produced, content_digest
from langchain_vpp.guard.pictures import OutputSize, checked_output_size, image_bytes, rasterize, usable_cpus
from langchain_vpp.guard.receipt import Receipt, SentImage
from langchain_vpp.guard.upstream import recorded_upstream
from langchain_vpp.images.codec import (
    ScaledImage,
    decode_image,
    decode_scaled,
    encode_scaled,
    resized,
    strip_metadata,
)
from langchain_vpp.messages.plan import ContentPolicy, PixelSource
from langchain_vpp.messages.walk import coerce_messages, plan_messages
from langchain_vpp.network.config import working_size
from langchain_vpp.providers import fit_size, within

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from langchain_core.callbacks import Callbacks
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import BaseMessage
    from langchain_core.stores import ByteStore

    from langchain_vpp.engines import Engine

_T = TypeVar("_T")

_HANDLE: Final = re.compile(r"\Avpp://([0-9a-f]{64})\Z")
_STORE_PREFIX: Final = "vpp-"


class Admission(NamedTuple):
    """Messages that may leave, and the receipt for them."""

    messages: list[BaseMessage]
    receipt: Receipt


class Gate:
    """Protects every picture in messages, or refuses the messages: all of an ``ImageProtector`` but its making.

    Arguments: see :class:`langchain_vpp.image_protector.ImageProtector`.
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
    _memo: Memo
    _min_level: float
    _on_upstream_trace: Literal["warn", "raise", "ignore"]
    _output_size: OutputSize
    _policy: ContentPolicy
    _produced: Produced
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
            "_level": checked_level(level),
            "_min_level": checked_level(min_level),
            "_fetch": fetch,
            "_policy": ContentPolicy(
                on_unsupported=on_unsupported, on_remote_url=on_remote_url, on_document=on_document
            ),
            "_on_upstream_trace": on_upstream_trace,
            "_store": store,
            "_output_size": checked_output_size(output_size),
            "_working_resolution": resolution if type(resolution) is int and resolution > 0 else None,
            "_receipt_original_digest": receipt_original_digest,
            "_memo": Memo(memo_bytes),
            "_produced": Produced(),
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
        picture = decode_scaled(image_bytes(image), self._seen_size)
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
        data = image_bytes(image)
        decode_image(data)
        handle = hmac.new(self._seal_key, data, hashlib.sha256).hexdigest()
        call_foreign("store", lambda: store.mset([(_STORE_PREFIX + handle, data)]))
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
        wanted: list[Key | Output] = []
        originals: dict[Key, bytes] = {}
        for source in plan.sources:
            data = self._source_bytes(source)
            own = None
            if source.data is not None:
                own = self._produced.find(data, effective, at_least=at_least)
            if own is not None:
                wanted.append(Output(data, own))
                continue
            exposed = exposed or source.kind != "sealed"
            key = (content_digest(data), effective, source.kind == "document")
            wanted.append(key)
            originals[key] = data
        made = self._protect_all(originals)
        outputs = [(each,) if isinstance(each, Output) else made[each] for each in wanted]
        receipt = Receipt(
            tuple(output.sent for each in outputs for output in each), self._engine_name, self._artifact
        )
        rebuilt = plan.rebuild([[output.encoded for output in each] for each in outputs])
        return Admission(rebuilt, receipt), exposed

    def _protect_all(self, originals: Mapping[Key, bytes]) -> dict[Key, tuple[Output, ...]]:
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

    def _protect_file(self, data: bytes, key: Key) -> tuple[Output, ...]:
        _, level, is_document = key
        started = time.perf_counter()
        if is_document:
            pictures = [
                ScaledImage(resized(page, self._seen_size(*page.size)), page.size) for page in rasterize(data)
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
            made.append(Output(encoded, sent))
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
        data = call_foreign("fetch function", lambda: fetch(url))
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
        data = call_foreign("store", lambda: store.mget([key])[0])
        if not isinstance(data, bytes):
            raise ProtectionError(
                "A vpp:// handle is unknown to the store, so nothing was sent. Seal the picture again."
            )
        return data

    def _run_engine(self, image: Image.Image, level: float) -> Image.Image:
        size = image.size
        protected = call_foreign("engine", lambda: self._engine.protect(image, level))
        if not isinstance(protected, Image.Image) or protected is image:
            raise ProtectionError("The engine did not return a new picture, so nothing was sent.")
        if protected.mode != "RGB" or protected.size != size:
            raise ProtectionError(
                "The engine did not return an RGB picture of the same size, so nothing was sent."
            )
        # Pixels only: an engine that carried `info` over would carry metadata over.
        return call_foreign("engine", lambda: strip_metadata(protected))

    def _effective(self, level: float | None) -> float:
        return self._level if level is None else max(checked_request_level(level), self._min_level)

    def _check_upstream(self, callbacks: Callbacks, *, exposed: bool) -> None:
        if not exposed or self._on_upstream_trace == "ignore" or not recorded_upstream(callbacks):
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
