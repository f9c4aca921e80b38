"""Restoring: what was hidden is put back for the caller, and for nobody else.

Runs, tracers, caches and checkpoints hold tokens. So values are put back after the outermost protected call has ended
its run, never inside of one: there an answer keeps its tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import ensure_config

from langchain_vpp.errors import ProtectionError
from langchain_vpp.guard.conversations import conversation_of, restored_in, thread_name
from langchain_vpp.guard.pool import in_thread
from langchain_vpp.runnables.calls import GRAPH_INTERNAL
from langchain_vpp.runnables.sentinel import is_watched
from langchain_vpp.runnables.streams import ChunkStream, EventStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from langchain_core.callbacks import Callbacks
    from langchain_core.runnables import RunnableConfig

    from langchain_vpp.guard.conversations import Conversation
    from langchain_vpp.guard.gate import Gate

_T = TypeVar("_T")


class Restoring(NamedTuple):
    """Puts values back in the results of one call.

    Attributes:
        gate: The protector.
        conversation: The conversation of the call, which is open for as long as this is held.
        is_due: Whether values are put back. Else results pass as they are.
    """

    gate: Gate
    conversation: Conversation
    is_due: bool

    def value(self, value: _T) -> _T:
        """Return a whole result with its values."""
        if not self.is_due:
            return value
        restored = restored_in(value, self.conversation.vault)
        self.gate.conversations.keep(self.conversation)
        return restored

    async def avalue(self, value: _T) -> _T:
        """Run :meth:`value`, in a thread if a store may be asked."""
        return await in_thread(self.value, value) if self.is_due else value

    def result(self, result: LLMResult) -> LLMResult:
        """Return the result of ``generate`` with its values. The result itself is kept by callbacks and caches."""
        if not self.is_due or self.conversation.vault.is_empty:
            return result
        generations: Any = [
            [
                ChatGeneration(message=self.value(each.message), generation_info=each.generation_info)
                if isinstance(each, ChatGeneration)
                else each
                for each in answers
            ]
            for answers in result.generations
        ]
        return LLMResult(generations=generations, llm_output=result.llm_output, run=result.run)

    def chunks(self, chunks: Iterator[Any]) -> Iterator[Any]:
        """Yield the chunks of a stream with their values."""
        if not self.is_due:
            yield from chunks
            return
        stream = ChunkStream(self.conversation.vault)
        for chunk in chunks:
            yield stream.feed(chunk)
        yield from stream.flush()
        self.gate.conversations.keep(self.conversation)

    async def achunks(self, chunks: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Yield the chunks of an async stream with their values."""
        if not self.is_due:
            async for chunk in chunks:
                yield chunk
            return
        stream = ChunkStream(self.conversation.vault)
        async for chunk in chunks:
            yield stream.feed(chunk)
        for chunk in stream.flush():
            yield chunk
        await in_thread(self.gate.conversations.keep, self.conversation)

    async def aevents(self, events: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Yield the events of ``astream_events`` with their values."""
        stream = EventStream(self.conversation.vault)
        async for event in events:
            if not self.is_due:
                yield event
                continue
            for restored in stream.feed(event):
                yield restored
        if self.is_due:
            await in_thread(self.gate.conversations.keep, self.conversation)


def restoring(gate: Gate, conversation: Conversation, callbacks: Callbacks, *, restores: bool) -> Restoring:
    """Decide whether a call puts values back, before anything is sent.

    Inside of another call of the same protector, and in a graph, it does not: what stands around it does, and the state
    of the graph goes into checkpoints and to other models.

    Args:
        gate: The protector.
        conversation: The conversation of the call.
        callbacks: The callbacks of the call.
        restores: Whether the caller wants values.

    Raises:
        ProtectionError: If an enclosing run with handlers would record them, and the protector is to raise then.
    """
    is_due = (
        restores and gate.conversations.is_needed and not is_watched(callbacks, gate) and not is_in_graph()
    )
    if is_due:
        gate.upstream.check_restoring(callbacks)
    return Restoring(gate, conversation, is_due)


def is_in_graph() -> bool:
    """Say whether the caller is a node of a graph of langgraph."""
    configurable = ensure_config(None).get("configurable", {})
    return any(isinstance(key, str) and key.startswith(GRAPH_INTERNAL) for key in configurable)


class Restorer(Runnable[Any, Any]):
    """Puts values back in whatever it gets: text, messages, structures, the state of a graph, streams of these.

    It opens no run. At the end of a protected composition it stands for ``restore=True``.

    Args:
        protector: The protector that hid them.
        thread_id: The conversation. Default: ``config["configurable"]["thread_id"]``.
    """

    def __init__(self, protector: Gate, thread_id: str | None = None) -> None:
        self._protector = protector
        self._name = None if thread_id is None else thread_name(thread_id)

    @property
    def vpp_protector(self) -> Gate:
        """The protector that hid the values."""
        return self._protector

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: A002
        """Return the input with its values.

        Raises:
            ProtectionError: If the config names no conversation, or an enclosing run would record the values.
        """
        return self._restoring(config).value(input)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: A002
        """Run :meth:`invoke` in a thread."""
        return await (await in_thread(self._restoring, config)).avalue(input)

    def transform(
        self,
        input: Iterator[Any],  # noqa: A002
        config: RunnableConfig | None = None,
        **_: Any,
    ) -> Iterator[Any]:
        """Yield the chunks of a stream with their values; see :meth:`invoke`."""
        yield from self._restoring(config).chunks(input)

    async def atransform(
        self,
        input: AsyncIterator[Any],  # noqa: A002
        config: RunnableConfig | None = None,
        **_: Any,
    ) -> AsyncIterator[Any]:
        """Yield the chunks of an async stream with their values; see :meth:`invoke`."""
        async for chunk in (await in_thread(self._restoring, config)).achunks(input):
            yield chunk

    def _restoring(self, config: RunnableConfig | None) -> Restoring:
        gate = self._protector
        name = self._name or conversation_of(config)
        if name is None:
            raise ProtectionError(
                "Nothing was put back: name the conversation, in the config (thread_id) or in restorer(thread_id=...)."
            )
        gate.upstream.check_restoring(ensure_config(config).get("callbacks"))
        return Restoring(gate, gate.conversations.open(name), is_due=True)
