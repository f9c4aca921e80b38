"""The gate: the one path from messages to messages that may be sent.

The gate collects every source of pixels in every message, and refuses unknown content; gets the bytes of each picture
(fetches a URL, resolves a sealed handle, draws the pages of a PDF); decodes, protects and encodes it; and rebuilds the
messages. Nothing acts on messages that were walked only in part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from langchain_vpp.errors import ProtectionError
from langchain_vpp.guard.admitted import AdmittedMessages, isolated
from langchain_vpp.guard.budget import RequestBudget
from langchain_vpp.guard.conversations import Conversations, conversation_of, hidden_in, thread_name
from langchain_vpp.guard.level import Levels
from langchain_vpp.guard.memo import ProducedPictures
from langchain_vpp.guard.originals import Originals
from langchain_vpp.guard.pictures import OutputSize, PicturePipeline
from langchain_vpp.guard.pool import arun_steps, in_thread, run_steps
from langchain_vpp.guard.receipt import Receipt
from langchain_vpp.guard.sealing import Sealing
from langchain_vpp.guard.sources import Sources
from langchain_vpp.guard.unchangeable import Unchangeable
from langchain_vpp.guard.upstream import OnUpstreamTrace, Upstream
from langchain_vpp.guard.vault import MemoryVaults
from langchain_vpp.images.given import image_bytes
from langchain_vpp.messages.extent import extent, is_brief
from langchain_vpp.messages.plan import ContentPolicy
from langchain_vpp.messages.walk import coerce_messages, plan_messages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from langchain_core.callbacks import Callbacks
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import BaseMessage
    from langchain_core.stores import ByteStore
    from PIL import Image

    from langchain_vpp.engines import Engine
    from langchain_vpp.guard.budget import Account
    from langchain_vpp.guard.level import RequestLevel
    from langchain_vpp.guard.pool import Steps
    from langchain_vpp.guard.unfamiliar import OnUnfamiliar, ProtectedFile
    from langchain_vpp.guard.vault import VaultKeeper

_MOST_PARTS: Final = 100_000  # of a request, whose length is counted


class Admission(NamedTuple):
    """Messages that may leave, and the receipt for their pictures."""

    messages: list[BaseMessage]
    receipt: Receipt


class Gate(Unchangeable):
    """Protects every picture in messages, or refuses the messages.

    Thread-safe, and immutable once built. Arguments and errors of the constructor are those of
    :class:`langchain_vpp.image_protector.ImageProtector`, the gate that can be loaded and composed.
    """

    __slots__ = (
        "__weakref__",
        "_admitted",
        "_budget",
        "_levels",
        "_pipeline",
        "_produced",
        "_sources",
        "content_policy",
        "conversations",
        "sealing",
        "upstream",
    )

    _admitted: AdmittedMessages
    _budget: RequestBudget
    _levels: Levels
    _pipeline: PicturePipeline
    _produced: ProducedPictures
    _sources: Sources
    content_policy: ContentPolicy
    """Reactions to content that is not simply a picture."""
    conversations: Conversations
    """Vaults with what was hidden, one for each conversation."""
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
        on_video: Literal["raise", "sample", "encode"] = "raise",
        on_upstream_trace: OnUpstreamTrace = "raise",
        on_unfamiliar: OnUnfamiliar = "cover",
        store: ByteStore | None = None,
        output_size: OutputSize = "same",
        memo_bytes: int = 64 * 2**20,
        receipt_original_digest: bool = False,
        budget: RequestBudget | None = None,
        vaults: VaultKeeper | None = None,
    ) -> None:
        pipeline = PicturePipeline(
            engine,
            output_size=output_size,
            memo_bytes=memo_bytes,
            names_originals=receipt_original_digest,
            on_unfamiliar=on_unfamiliar,
        )
        _check_choice("on_upstream_trace", on_upstream_trace, ("warn", "raise", "ignore"))
        policy = _checked_policy(on_unsupported, on_remote_url, on_document, on_video)
        if not isinstance(budget, RequestBudget | None):
            msg = "budget must be a RequestBudget"
            raise TypeError(msg)
        sealing, produced = Sealing(store), ProducedPictures()
        settings: dict[str, Any] = {
            "_pipeline": pipeline,
            "_levels": Levels.checked(level, min_level, presets),
            "_budget": budget or RequestBudget(),
            "content_policy": policy,
            "_sources": Sources(Originals(fetch, sealing), pipeline, produced, policy),
            "conversations": Conversations(vaults or MemoryVaults(), is_needed=pipeline.names_values),
            "sealing": sealing,
            "upstream": Upstream(on_upstream_trace),
            "_produced": produced,
            "_admitted": AdmittedMessages(),
        }
        for slot, value in settings.items():
            object.__setattr__(self, slot, value)

    def __repr__(self) -> str:
        engine, levels = self._pipeline.engine_name, self._levels
        return f"{type(self).__name__}(engine={engine!r}, level={levels.default}, min_level={levels.floor})"

    def protect_messages(
        self, messages: LanguageModelInput, *, level: RequestLevel | None = None, thread_id: str | None = None
    ) -> list[BaseMessage]:
        """Return messages in which every picture is protected. The input is not changed.

        Args:
            messages: Any input of a chat model: text, messages, message-likes, a prompt value.
            level: In [0, 1], or a preset; ``min_level`` is the floor. Default: the protector's level.
            thread_id: Conversation that names private values. Default: that of the enclosing run, if there is one.

        Returns:
            New messages, which share nothing with those that were given.

        Raises:
            ProtectionError: If anything in the messages can't be protected.
        """
        name = None if thread_id is None else thread_name(thread_id)
        return self.admit(messages, level=level, conversation=name).messages

    async def aprotect_messages(
        self, messages: LanguageModelInput, *, level: RequestLevel | None = None, thread_id: str | None = None
    ) -> list[BaseMessage]:
        """Run :meth:`protect_messages` in a thread, so that the event loop is never held up."""
        name = None if thread_id is None else thread_name(thread_id)
        return (await self.aadmit(messages, level=level, conversation=name)).messages

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
        return self._pipeline.protect_image(
            image_bytes(image), self._levels.effective(level), self._budget.open()
        )

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
        return self.protect_file(data, level).encoded

    def protect_file(self, data: bytes, level: RequestLevel | None = None) -> ProtectedFile:
        """Run :meth:`protect_encoded`, and say whether the picture was taken for unfamiliar."""
        return self._pipeline.protect_encoded(data, self._levels.effective(level), self._budget.open())

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
        self._pipeline.decoded(data, self._budget.open())
        return {"type": "image", "url": self.sealing.seal(data)}

    async def aseal(self, image: Image.Image | bytes | str | Path) -> dict[str, str]:
        """Run :meth:`seal` in a thread."""
        return await in_thread(self.seal, image)

    def admit(
        self,
        messages: LanguageModelInput,
        *,
        level: RequestLevel | None = None,
        callbacks: Callbacks = None,
        exposed: bool = False,
        conversation: str | None = None,
    ) -> Admission:
        """Protect messages, and react to enclosing runs that recorded an original. Every entry point calls this.

        Args:
            messages: As in :meth:`protect_messages`.
            level: The level that this request names, or None.
            callbacks: The callbacks of the request's config.
            exposed: Whether the request brought an original outside of the messages.
            conversation: Name of the conversation. Default: that of the enclosing run, or else one of this request.

        Raises:
            ProtectionError: If anything can't be protected, or an enclosing run with handlers has recorded an
                original, or content that was dropped, and ``on_upstream_trace="raise"``.
        """
        return self.upstream.concluded(
            self._tried(messages, level, conversation or conversation_of(None)), callbacks, exposed=exposed
        )

    async def aadmit(
        self,
        messages: LanguageModelInput,
        *,
        level: RequestLevel | None = None,
        callbacks: Callbacks = None,
        exposed: bool = False,
        conversation: str | None = None,
    ) -> Admission:
        """Run :meth:`admit` with the work in threads; none of them waits for another, and a text for no picture."""
        outcome = await self._atried(messages, level, conversation or conversation_of(None))
        return self.upstream.concluded(outcome, callbacks, exposed=exposed)

    def has_put_out(self, messages: LanguageModelInput) -> bool:
        """Say whether every picture in messages is a protected one of this protector.

        A sealed handle is none: where nothing resolves it, a provider would be asked about an address of ours.

        Raises:
            ProtectionError: If the messages hold anything else that can't be protected.
        """
        films: Literal["raise", "encode"] = "encode" if self.content_policy.on_video == "encode" else "raise"
        plan = plan_messages(coerce_messages(messages), ContentPolicy(on_video=films))
        return self._produced.hold(plan.sources, self._levels.floor)

    def _tried(
        self, messages: LanguageModelInput, level: RequestLevel | None, conversation: str | None
    ) -> tuple[Admission | ProtectionError, bool]:
        """Return the admission, or the error that refuses it, so that it is raised with no other as its context."""
        account = self._budget.open()
        try:
            return run_steps(self._admit(messages, level, conversation, account), account)
        except ProtectionError as error:
            return error, True

    async def _atried(
        self, messages: LanguageModelInput, level: RequestLevel | None, conversation: str | None
    ) -> tuple[Admission | ProtectionError, bool]:
        steps = self._admit(messages, level, conversation, account := self._budget.open())
        try:
            return await arun_steps(steps, account, messages, at_once=not self.conversations.is_needed)
        except ProtectionError as error:
            return error, True

    def _admit(
        self,
        messages: LanguageModelInput,
        asked: RequestLevel | None,
        name: str | None,
        account: Account,
    ) -> Steps[tuple[Admission, bool]]:
        """Return the admission, and whether the input held something that no enclosing run should have seen.

        Work on pictures is yielded, to be waited for; before long work on texts, there is nothing to wait for.
        """
        level = self._levels.effective(asked)
        conversation = self.conversations.open(name)
        given = coerce_messages(messages)
        account.require_length(extent(given, most=_MOST_PARTS))
        given, states = isolated(given)  # nobody else can change them from here on
        records = [self._produced.recall_all(keys, level) for keys in self._admitted.recall(states)]
        walked = [place for place, each in enumerate(records) if each is None]
        if not is_brief([given[place] for place in walked]):
            yield []  # the rest is work for a thread
        exposed, admitted = False, [*given]
        if walked:
            plan = plan_messages([given[place] for place in walked], self.content_policy, places=walked)
            self.sealing.refuse_in_text([given[place] for place in walked])
            outputs, exposed = yield from self._sources.protect(
                plan.sources, level, account, conversation.vault
            )
            exposed = exposed or plan.dropped
            videos = [place for place, each in enumerate(outputs) if any(output.is_frame for output in each)]
            rebuilt = plan.rebuild([[output.encoded for output in each] for each in outputs], videos=videos)
            for place, planned, message in zip(walked, plan.messages, rebuilt, strict=True):
                admitted[place] = message
                records[place] = [output.record for source in planned.sources for output in outputs[source]]
        # Text may name what a picture hides, whichever of the two came first.
        admitted = [hidden_in(message, conversation.vault) for message in admitted]
        changed = [place for place, message in enumerate(admitted) if message is not given[place]]
        if walked or changed:
            pictures = [tuple(record.key for record in each or ()) for each in records]
            self._admitted.add(states, sorted({*walked, *changed}), admitted, pictures)
        images = tuple(record.sent for each in records for record in each or ())
        receipt = Receipt(images, self._pipeline.engine_name, self._pipeline.artifact)
        self.conversations.keep(conversation)
        return Admission(admitted, receipt), exposed


def _checked_policy(
    on_unsupported: Any, on_remote_url: Any, on_document: Any, on_video: Any
) -> ContentPolicy:
    _check_choice("on_unsupported", on_unsupported, ("raise", "drop"))
    _check_choice("on_remote_url", on_remote_url, ("raise", "fetch"))
    _check_choice("on_document", on_document, ("raise", "rasterize"))
    _check_choice("on_video", on_video, ("raise", "sample", "encode"))
    return ContentPolicy(on_unsupported, on_remote_url, on_document, on_video)


def _check_choice(option: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        msg = f"{option} must be one of {', '.join(allowed)}"
        raise ValueError(msg)
