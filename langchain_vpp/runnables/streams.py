"""Streams: values put back in chunks, in whichever pieces a token comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from langchain_core.messages import AIMessageChunk, BaseMessageChunk
from langchain_core.runnables.utils import AddableDict

from langchain_vpp.guard.conversations import restored_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_vpp.engines.words.mentions import MentionStream
    from langchain_vpp.engines.words.vault import Vault

_JSON_PIECES: Final = frozenset({"args", "arguments", "partial_json", "input"})
_PIECES: Final = _JSON_PIECES | {
    "content", "text", "reasoning", "reasoning_content", "reasoning_text", "thinking", "refusal", "output_text",
}  # fmt: skip
"""Keys of text that comes in pieces, which are added to each other. Text under other keys comes whole."""
_PLACES: Final = ("langgraph_checkpoint_ns", "langgraph_node")
"""Keys of the metadata beside a chunk that tell streams apart."""

_Path = tuple[Any, ...]


class _Item(NamedTuple):
    """Place of an item in a list: chunks with the same index and type belong together."""

    index: Any
    kind: Any


class ChunkStream:
    """Restores one stream of chunks: text, messages, mappings of these, and the tuples of a graph.

    What may be the beginning of a token is held back until it is known. The pieces that are given out, added to each
    other, are the whole restored.

    Args:
        vault: What is hidden in the conversation.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._texts: dict[_Path, tuple[MentionStream, Callable[[Any], Any]]] = {}
        self._messages: dict[_Path, tuple[_MessageStream, Callable[[Any], Any]]] = {}

    def feed(self, chunk: Any) -> Any:
        """Take a chunk, and return what can be given out of it: a chunk of the same shape."""
        return chunk if self._vault.is_empty else self._fed(chunk, (), lambda restored: restored)

    def flush(self) -> Iterator[Any]:
        """Yield chunks with what is still held back, at the end of the stream."""
        for stream, wrapped in self._texts.values():
            if tail := stream.flush():
                yield wrapped(tail)
            self._vault.remember(stream.given, stream.said)
        for message, wrapped in self._messages.values():
            last = message.flush()
            if last is not None:
                yield wrapped(last)

    def _fed(self, chunk: Any, path: _Path, wrapped: Callable[[Any], Any]) -> Any:
        if isinstance(chunk, str):
            stream, _ = self._texts.setdefault(path, (self._vault.stream(), wrapped))
            return stream.feed(chunk)
        if isinstance(chunk, BaseMessageChunk):
            message = self._messages.get(path, (_MessageStream(self._vault), wrapped))[0]
            self._messages[path] = message, wrapped
            return message.feed(chunk)
        if isinstance(chunk, AddableDict):
            return AddableDict(
                {key: self._fed(item, (*path, key), _under(key, wrapped)) for key, item in chunk.items()}
            )
        if type(chunk) is tuple and any(_holds_chunk(item) for item in chunk):
            place = (*path, len(chunk), *(_place(item) for item in chunk))
            return tuple(
                self._fed(item, place, _at(at, chunk, wrapped))
                if _holds_chunk(item)
                else restored_in(item, self._vault)
                for at, item in enumerate(chunk)
            )
        return restored_in(chunk, self._vault)


class EventStream:
    """Restores the events of ``astream_events``: the chunks of each run as a stream of their own.

    Args:
        vault: What is hidden in the conversation.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._runs: dict[Any, tuple[ChunkStream, dict[str, Any]]] = {}

    def feed(self, event: Any) -> Iterator[Any]:
        """Take an event, and yield what can be given out: before the end of a run, what is left of its chunks."""
        if not isinstance(event, dict) or not isinstance(event.get("data"), dict):
            yield restored_in(event, self._vault)
            return
        name, run, data = str(event.get("event")), event.get("run_id"), event["data"]
        if name.endswith("_stream") and "chunk" in data:
            stream = self._runs[run][0] if run in self._runs else ChunkStream(self._vault)
            self._runs[run] = stream, event
            yield {**event, "data": {**data, "chunk": stream.feed(data["chunk"])}}
            return
        if name.endswith("_end") and run in self._runs:
            stream, last = self._runs.pop(run)
            for tail in stream.flush():
                yield {**last, "data": {**last["data"], "chunk": tail}}
        yield restored_in(event, self._vault)


class _MessageStream:
    """Restores the chunks of one message."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._streams: dict[_Path, MentionStream] = {}
        self._last: BaseMessageChunk | None = None

    def feed(self, chunk: BaseMessageChunk) -> BaseMessageChunk:
        self._last = chunk
        fields: dict[str, Any] = {}
        for name, value in {**chunk.__dict__, **(chunk.__pydantic_extra__ or {})}.items():
            if name in ("content", "tool_call_chunks", "additional_kwargs"):
                fields[name] = self._pieces(value, (name,), name)
            elif name in ("tool_calls", "invalid_tool_calls"):
                # Derived from the chunks of calls, where there are any.
                if not getattr(chunk, "tool_call_chunks", None):
                    fields[name] = restored_in(value, self._vault)
            else:
                fields[name] = value
        restored = type(chunk)(**fields)
        if getattr(chunk, "chunk_position", None) == "last":
            tail = self.flush()
            restored = restored if tail is None else restored + tail
        return restored

    def flush(self) -> BaseMessageChunk | None:
        """Return a chunk with what is held back; ``None`` if nothing is."""
        chunk = self._last
        held = [(path, tail) for path, stream in self._streams.items() if (tail := stream.flush())]
        for stream in self._streams.values():
            self._vault.remember(stream.given, stream.said)
        if not held or chunk is None:
            return None
        last: BaseMessageChunk | None = None
        for path, tail in held:
            part = _part(path[1:], tail)
            settings: dict[str, Any] = {"content": "", path[0]: part, "id": chunk.id}
            if isinstance(chunk, AIMessageChunk) and path[0] == "tool_call_chunks":
                settings[path[0]] = [{"name": None, "id": None, **each} for each in part]
            piece = type(chunk)(**settings)
            last = piece if last is None else last + piece
        return last

    def _pieces(self, value: Any, path: _Path, key: Any) -> Any:
        if isinstance(value, str):
            if key not in _PIECES:
                return self._vault.restored(value)
            if path not in self._streams:
                self._streams[path] = self._vault.stream(json_text=key in _JSON_PIECES)
            return self._streams[path].feed(value)
        if type(value) is dict:
            return {name: self._pieces(item, (*path, name), name) for name, item in value.items()}
        if type(value) is list:
            return [
                self._pieces(item, (*path, _item_of(item, place)), key) for place, item in enumerate(value)
            ]
        return restored_in(value, self._vault)


def _item_of(item: Any, place: int) -> _Item:
    if not isinstance(item, dict):
        return _Item(None, None)
    return _Item(item.get("index", place), item.get("type"))


def _part(path: _Path, tail: str) -> Any:
    """Return the structure in which a text stands at a path."""
    if not path:
        return tail
    first, rest = path[0], _part(path[1:], tail)
    if not isinstance(first, _Item):
        return {first: rest}
    if not isinstance(rest, dict):
        return [rest]
    known = {"type": first.kind, "index": first.index}
    return [{**{name: value for name, value in known.items() if value is not None}, **rest}]


def _under(key: Any, wrapped: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda new: wrapped(AddableDict({key: new}))


def _at(place: int, chunk: tuple[Any, ...], wrapped: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda new: wrapped((*chunk[:place], new, *chunk[place + 1 :]))


def _holds_chunk(item: Any) -> bool:
    return isinstance(item, BaseMessageChunk) or (
        type(item) is tuple and any(isinstance(each, BaseMessageChunk) for each in item)
    )


def _place(item: Any) -> Any:
    if isinstance(item, dict):
        return tuple(str(item.get(key)) for key in _PLACES)
    return str(item) if isinstance(item, str | tuple) and not _holds_chunk(item) else None
