"""The gate: the one path from messages to messages that may be sent.

The gate collects every source of pixels in every message, and refuses unknown content; gets the bytes of each picture
(fetches a URL, resolves a sealed handle, draws the pages of a PDF); decodes, protects and encodes it; and rebuilds the
messages. Nothing acts on messages that were walked only in part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from langchain_vpp.errors import ProtectionError
from langchain_vpp.guard.admitted import AdmittedMessages, Transit, message_state
from langchain_vpp.guard.foreign import call_foreign
from langchain_vpp.guard.level import Levels
from langchain_vpp.guard.memo import Output, OutputKey, ProducedPictures, Recipe, Record, content_digest
from langchain_vpp.guard.pictures import OutputSize, PicturePipeline
from langchain_vpp.guard.receipt import Receipt
from langchain_vpp.guard.sealing import Sealing
from langchain_vpp.guard.upstream import OnUpstreamTrace, Upstream
from langchain_vpp.images.codec import decode_image
from langchain_vpp.images.given import image_bytes
from langchain_vpp.messages.plan import ContentPolicy, PixelSource
from langchain_vpp.messages.walk import coerce_messages, plan_messages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from langchain_core.callbacks import Callbacks
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import BaseMessage
    from langchain_core.stores import ByteStore
    from PIL import Image

    from langchain_vpp.engines import Engine
    from langchain_vpp.guard.level import RequestLevel

_T = TypeVar("_T")


class Admission(NamedTuple):
    """Messages that may leave, and the receipt for their pictures."""

    messages: list[BaseMessage]
    receipt: Receipt


class Gate:
    """Protects every picture in messages, or refuses the messages.

    Thread-safe, and immutable once built. Arguments and errors of the constructor are those of
    :class:`langchain_vpp.image_protector.ImageProtector`, the gate that can be loaded and composed.
    """

    __slots__ = (
        "__weakref__",
        "_admitted",
        "_fetch",
        "_levels",
        "_pipeline",
        "_policy",
        "_produced",
        "sealing",
        "upstream",
    )

    _admitted: AdmittedMessages
    _fetch: Callable[[str], bytes] | None
    _levels: Levels
    _pipeline: PicturePipeline
    _policy: ContentPolicy
    _produced: ProducedPictures
    sealing: Sealing
    """Sealed originals, and values that are kept out of runs while a chain works on them."""
    upstream: Upstream
    """The reaction to enclosing runs."""

    def __init__(
        self,
        engine: Engine,
        *,
        level: float = 0.5,
        min_level: float | None = None,
        presets: Mapping[str, float] | None = None,
        fetch: Callable[[str], bytes] | None = None,
        on_unsupported: Literal["raise", "drop"] = "raise",
        on_remote_url: Literal["raise", "fetch"] = "raise",
        on_document: Literal["raise", "rasterize"] = "raise",
        on_upstream_trace: OnUpstreamTrace = "raise",
        store: ByteStore | None = None,
        output_size: OutputSize = "same",
        memo_bytes: int = 64 * 2**20,
        receipt_original_digest: bool = False,
    ) -> None:
        pipeline = PicturePipeline(
            engine,
            output_size=output_size,
            memo_bytes=memo_bytes,
            names_originals=receipt_original_digest,
        )
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
        settings: dict[str, Any] = {
            "_pipeline": pipeline,
            "_levels": Levels.checked(level, min_level, presets),
            "_fetch": fetch,
            "_policy": ContentPolicy(
                on_unsupported=on_unsupported, on_remote_url=on_remote_url, on_document=on_document
            ),
            "sealing": Sealing(store),
            "upstream": Upstream(on_upstream_trace),
            "_produced": ProducedPictures(),
            "_admitted": AdmittedMessages(),
        }
        for slot, value in settings.items():
            object.__setattr__(self, slot, value)

    def __setattr__(self, name: str, value: object) -> None:
        msg = "A protector can't be changed; build another one"
        raise AttributeError(msg)

    def __delattr__(self, name: str) -> None:
        msg = "A protector can't be changed; build another one"
        raise AttributeError(msg)

    def __repr__(self) -> str:
        engine, levels = self._pipeline.engine_name, self._levels
        return f"{type(self).__name__}(engine={engine!r}, level={levels.default}, min_level={levels.floor})"

    def __copy__(self) -> Gate:
        return self  # immutable, and may be shared

    def __deepcopy__(self, memo: Any) -> Gate:
        return self

    def __reduce__(self) -> str | tuple[Any, ...]:
        msg = "A protector can't be pickled; build one in each process"
        raise TypeError(msg)

    @property
    def content_policy(self) -> ContentPolicy:
        """Reactions to content that is not simply a picture."""
        return self._policy

    def protect_messages(
        self, messages: LanguageModelInput, *, level: RequestLevel | None = None
    ) -> list[BaseMessage]:
        """Return messages in which every picture is protected. The input is not changed.

        Args:
            messages: Any input of a chat model: text, messages, message-likes, a prompt value.
            level: In [0, 1], or a preset; ``min_level`` is the floor. Default: the protector's level.

        Returns:
            A new list. Messages in which nothing had to change are the same objects.

        Raises:
            ProtectionError: If anything in the messages can't be protected.
        """
        return self.admit(messages, level=level).messages

    async def aprotect_messages(
        self, messages: LanguageModelInput, *, level: RequestLevel | None = None
    ) -> list[BaseMessage]:
        """Run :meth:`protect_messages` in a thread, so that the event loop is never held up."""
        return (await self.aadmit(messages, level=level)).messages

    def protect_image(
        self, image: Image.Image | bytes | str | Path, level: RequestLevel | None = None
    ) -> Image.Image:
        """Protect one picture.

        Args:
            image: A picture, the bytes of an encoded one, or a file.
            level: In [0, 1], or a preset; ``min_level`` is the floor. Default: the protector's level.

        Returns:
            A new upright RGB image without metadata. Its size is that of the upright original, or what
            ``output_size`` makes of it.

        Raises:
            ProtectionError: If the picture can't be read, decoded or protected.
        """
        return self._pipeline.protect_image(image_bytes(image), self._levels.effective(level))

    def protect_encoded(self, data: bytes, level: RequestLevel | None = None) -> bytes:
        """Protect one picture from bytes to bytes, as it would be sent to a chat model.

        Faster than encoding the result of :meth:`protect_image`, because nothing is held at full size.

        Args:
            data: An encoded picture.
            level: In [0, 1], or a preset; ``min_level`` is the floor. Default: the protector's level.

        Returns:
            A baseline JPEG without metadata.

        Raises:
            ProtectionError: If the picture can't be decoded or protected.
        """
        return self._pipeline.protect_encoded(data, self._levels.effective(level))

    def seal(self, image: Image.Image | bytes | str | Path) -> dict[str, str]:
        """Store an original, and return a content block with a handle in its place.

        The handle is a keyed digest: it tells nothing about the picture to anyone without the store. A protected
        model resolves it and protects the picture where the messages enter. Prompts, traces and checkpoints then
        hold no pixels at all.

        Args:
            image: A picture, the bytes of an encoded one, or a file.

        Returns:
            ``{"type": "image", "url": "vpp://<64 hex digits>"}``.

        Raises:
            ProtectionError: If there is no store, it fails, or the picture can't be decoded.
        """
        data = image_bytes(image)
        decode_image(data)
        return {"type": "image", "url": self.sealing.seal(data)}

    async def aseal(self, image: Image.Image | bytes | str | Path) -> dict[str, str]:
        """Run :meth:`seal` in a thread."""
        return await _in_thread(self.seal, image)

    def admit(
        self,
        messages: LanguageModelInput,
        *,
        level: RequestLevel | None = None,
        callbacks: Callbacks = None,
        exposed: bool = False,
    ) -> Admission:
        """Protect messages, and react to enclosing runs that recorded an original. Every entry point calls this.

        Args:
            messages: As in :meth:`protect_messages`.
            level: The level that this request names, or None.
            callbacks: The callbacks of the request's config.
            exposed: Whether the request brought an original outside of the messages.

        Raises:
            ProtectionError: If anything can't be protected, or an enclosing run with handlers has recorded an
                original, or content that was dropped, and ``on_upstream_trace="raise"``.
        """
        return self._told(self._tried(messages, level), callbacks, exposed=exposed)

    async def aadmit(
        self,
        messages: LanguageModelInput,
        *,
        level: RequestLevel | None = None,
        callbacks: Callbacks = None,
        exposed: bool = False,
    ) -> Admission:
        """Run :meth:`admit` with the work in a thread."""
        return self._told(await _in_thread(self._tried, messages, level), callbacks, exposed=exposed)

    def refuse_originals(self, messages: Sequence[BaseMessage]) -> None:
        """Refuse messages with a picture that this gate has not put out, or with anything that it would not admit.

        Raises:
            ProtectionError: If there is one.
        """
        for source in plan_messages(messages, ContentPolicy()).sources:
            floor = self._levels.floor
            if source.data is None or self._produced.find(source.data, floor) is None:
                raise ProtectionError(
                    "Nothing was sent: a chat model inside of the protected runnable, which is not protected itself, "
                    "was about to send an original. Protect it too (protect(model, protector))."
                )

    def _told(
        self, outcome: tuple[Admission | ProtectionError, bool], callbacks: Callbacks, *, exposed: bool
    ) -> Admission:
        """Return an admission or raise a refusal, after enclosing runs were looked for."""
        admission, was_exposed = outcome
        if isinstance(admission, ProtectionError):
            self.upstream.refuse(admission, callbacks)
        if exposed or was_exposed:
            self.upstream.check(callbacks)
        return admission

    def _tried(
        self, messages: LanguageModelInput, level: RequestLevel | None
    ) -> tuple[Admission | ProtectionError, bool]:
        """Return the admission, or the error that refuses it, so that it is raised with no other as its context."""
        try:
            return self._admit(messages, self._levels.effective(level))
        except ProtectionError as error:
            return error, True

    def _admit(self, messages: LanguageModelInput, level: float) -> tuple[Admission, bool]:
        """Return the admission, and whether the input held something that no enclosing run should have seen."""
        given = coerce_messages(messages)
        states = [message_state(message) for message in given]
        # The pictures in each message; None for a message that must be walked.
        records = [self._known(keys, level) for keys in self._admitted.recall(states)]
        walked = [place for place, each in enumerate(records) if each is None]
        exposed = False
        admitted = given
        if walked:
            plan = plan_messages([given[place] for place in walked], self._policy, places=walked)
            self.sealing.refuse_in_text([given[place] for place in walked])
            outputs, exposed = self._protected(plan.sources, level)
            exposed = exposed or plan.dropped
            rebuilt = plan.rebuild([[output.encoded for output in each] for each in outputs])
            admitted = [*given]
            for place, planned, message in zip(walked, plan.messages, rebuilt, strict=True):
                admitted[place] = message
                records[place] = [output.record for source in planned.sources for output in outputs[source]]
            pictures = [tuple(record.key for record in each or ()) for each in records]
            self._admitted.add(Transit(given, states, walked), admitted, pictures)
        images = tuple(record.sent for each in records for record in each or ())
        receipt = Receipt(images, self._pipeline.engine_name, self._pipeline.artifact)
        return Admission(admitted, receipt), exposed

    def _known(self, keys: Sequence[OutputKey] | None, level: float) -> Sequence[Record] | None:
        """Return the records of the pictures in a known message; ``None`` if it is unknown, or not private enough."""
        if not keys:
            return None if keys is None else ()
        records = [self._produced.recall(key, level) for key in keys]
        found = [record for record in records if record is not None]
        return found if len(found) == len(keys) else None

    def _protected(
        self, sources: Sequence[PixelSource], level: float
    ) -> tuple[list[tuple[Output, ...]], bool]:
        """Return the protected pictures of each source, and whether one was an original that travelled openly."""
        exposed = False
        wanted: list[Recipe | Output] = []
        originals: dict[Recipe, bytes] = {}
        for source in sources:
            data = self._source_bytes(source)
            own = None
            if source.data is not None:
                own = self._produced.find(data, level)
            if own is not None:
                wanted.append(Output(data, own))
                continue
            exposed = exposed or source.kind != "sealed"
            recipe = Recipe(content_digest(data), level, self._is_document(source, data))
            wanted.append(recipe)
            originals[recipe] = data
        made = self._pipeline.protect_files(originals)
        for outputs in made.values():
            self._produced.add(outputs)
        return [(each,) if isinstance(each, Output) else made[each] for each in wanted], exposed

    def _is_document(self, source: PixelSource, data: bytes) -> bool:
        if source.kind != "sealed" or not data.startswith(b"%PDF-"):
            return source.kind == "document"
        if self._policy.on_document != "rasterize":
            raise ProtectionError(
                'Nothing was sent: a sealed PDF can\'t be sent as it is; set on_document="rasterize" to send its pages.'
            )
        return True

    def _source_bytes(self, source: PixelSource) -> bytes:
        if source.data is not None:
            return source.data
        if source.reference is None:
            raise ProtectionError("A picture had neither data nor an address, so nothing was sent.")
        if source.kind == "sealed":
            return self.sealing.unseal(source.reference)
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


async def _in_thread(function: Callable[..., _T], *arguments: Any) -> _T:
    """Call a function in a thread of the loop's pool."""
    from langchain_core.runnables.config import run_in_executor  # noqa: PLC0415  loads all Runnables

    return await run_in_executor(None, function, *arguments)
