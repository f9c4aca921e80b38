"""The walker of Python values: one registry, one depth limit and one count limit for every place that reads values.

The registry (:mod:`langchain_vpp.messages.registry`) says for each type how its values are read:

- an *atom*, such as a number or a date, can hold no picture and passes;
- *text* and *bytes* are searched for pictures that are spelled out in them;
- a container has a :class:`Shape`: its parts are read and walked, and where one of them changes, a value of the same
  type is built around the walked parts;
- *media* (arrays, images, open files, iterators) hold pixels, or can't be looked into;
- everything else is *unknown*.

A :class:`TreeWalk` meets media, unknown objects and spelled-out pictures, and its ``refuse`` decides: raise, put a note
in their place, or let an unknown object pass.
"""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar, Final, Literal, NamedTuple

from langchain_vpp.messages.dialects import OPAQUE
from langchain_vpp.messages.registry import ATOMS, DICT, LIST, Shape, entry_of, is_buffer
from langchain_vpp.messages.spelled import (
    SHORTEST_SPELLING,
    find_file_header,
    holds_pixels,
    numbers_spell_file,
)

MAX_DEPTH: Final = 64
"""Deepest nesting that is walked."""

MAX_CONTAINERS: Final = 500_000
"""Most containers that are walked in one value, so that a hostile one ends within seconds."""

MAX_BYTES: Final = 256
"""Longest bytes that pass without a known file header: enough for a digest or a nonce."""


Kind = Literal["text", "numbers", "bytes", "media", "key", "whole", "unknown", "deep"]

_REASONS: Final[dict[Kind, str]] = {
    "text": "a text spells a picture (base64, a data URL or similar); send it as an image block",
    "numbers": "a list of numbers spells a picture",
    "bytes": "bytes hold a picture, or are too long to tell",
    "media": "pixels, or something that can't be looked into ({}), stand outside of an image block",
    "key": "a key of a mapping spells a picture, or can't be checked",
    "whole": "a {} holds what can't be protected, and can't be rebuilt without it",
    "unknown": "there is a {}, an object that is not known to be free of pixels",
    "deep": "something is nested too deeply or too large to be searched",
}


class Finding(NamedTuple):
    """Something that a walk must not let pass.

    Attributes:
        kind: What was found. A ``whole`` value has parts that may not travel, and can't be rebuilt without them.
        type_name: Class of the value in which it was found.
    """

    kind: Kind
    type_name: str

    @property
    def reason(self) -> str:
        """A clause for an error message. It quotes no content."""
        return _REASONS[self.kind].format(self.type_name)


class TreeWalk:
    """Walks values by the registry. Subclasses say what becomes of findings.

    Values in which nothing changes are returned as they are, unless ``copies`` is set.
    """

    copies: ClassVar[bool] = False
    """True to build all containers anew, from parts that were copied before they were walked.

    Nobody who holds the original can then change the result, neither later nor during the walk.
    """

    knows_tokens: ClassVar[bool] = True
    """True to let long base64 without a file header pass where providers put opaque tokens."""

    def __init__(self, *, containers: int = 0) -> None:
        self.containers = containers

    def refuse(self, finding: Finding, value: Any) -> Any:
        """Return what stands for ``value``, in which a finding was made, or raise."""
        raise NotImplementedError

    def value(self, value: Any, opaque: Any = None, depth: int = 0) -> Any:
        """Walk one value.

        Args:
            value: Anything.
            opaque: Where long opaque tokens are expected: ``True`` for this value itself, or a mapping from keys
                to the same for its parts; see :data:`langchain_vpp.messages.dialects.OPAQUE`.
            depth: Depth of ``value`` in what is walked.

        Returns:
            ``value`` itself, or what stands for it.
        """
        kind = type(value)
        if kind in ATOMS or (kind is str and len(value) < SHORTEST_SPELLING):
            return value
        if kind is str:
            return self._text(value, opaque)
        if kind is dict:
            return self.keyed(value, value, DICT, opaque, depth)
        if kind is list:
            return self.listed(value, value, LIST, opaque, depth)
        return self._other(value, opaque, depth)

    def keyed(self, value: Any, parts: dict[Any, Any], shape: Shape, opaque: Any, depth: int) -> Any:
        """Walk a mapping or an object by its parts."""
        self.containers += 1
        if depth > MAX_DEPTH or self.containers > MAX_CONTAINERS:
            return self._found("deep", value)
        if self.copies:
            parts = {**parts}
        kind = parts.get("type")
        inside = OPAQUE.get(kind, opaque) if isinstance(kind, str) else opaque
        expected = inside if isinstance(inside, dict) else None
        changed: dict[Any, Any] = {}
        for key, item in parts.items():
            if (type(key) is not str or len(key) >= SHORTEST_SPELLING) and not self.is_clean(key, depth):
                return self._found("key", value)
            item_type = type(item)
            if item_type in ATOMS or (item_type is str and len(item) < SHORTEST_SPELLING):
                continue
            item_opaque = (expected.get(key) or expected.get("*")) if expected else None
            walked = self.value(item, item_opaque, depth + 1)
            if walked is not item:
                changed[key] = walked
        if not changed and shape.is_faithful and not self.copies:
            return value
        return self._rebuilt(value, {**parts, **changed}, shape, is_changed=bool(changed))

    def listed(self, value: Any, parts: list[Any], shape: Shape, opaque: Any, depth: int) -> Any:
        """Walk a sequence or a set by its parts."""
        self.containers += 1
        if depth > MAX_DEPTH or self.containers > MAX_CONTAINERS:
            return self._found("deep", value)
        if self.copies:
            parts = [*parts]
        if numbers_spell_file(parts):
            return self._found("numbers", value)
        expected = opaque if isinstance(opaque, dict) else None
        walked = [self.value(item, expected, depth + 1) for item in parts]
        is_changed = any(new is not old for new, old in zip(walked, parts, strict=True))
        if not is_changed and shape.is_faithful and not self.copies:
            return value
        return self._rebuilt(value, walked, shape, is_changed=is_changed)

    def _text(self, text: str, opaque: Any) -> Any:
        is_token = opaque is True and self.knows_tokens
        return self._found("text", text) if holds_pixels(text, opaque=is_token) else text

    def _bytes(self, value: Any, opaque: Any) -> Any:
        try:
            data = memoryview(value).tobytes()
        except ValueError:  # of a view that was released
            return self._found("media", value)
        is_token = opaque is True and self.knows_tokens
        if (
            (is_token or len(data) <= MAX_BYTES)
            and find_file_header(data) is None
            and not holds_pixels(data.decode("latin-1"), opaque=is_token)
        ):
            return value
        return self._found("bytes", value)

    def _other(self, value: Any, opaque: Any, depth: int) -> Any:
        cls: Any = type(value)
        entry = entry_of(cls)
        row = entry.row
        if isinstance(row, Shape):
            walked = self._container(value, row, opaque, depth)
        elif row == "text":
            walked = self._text(value, opaque)
        elif row == "bytes":
            walked = self._bytes(value, opaque)
        elif row == "atom":
            walked = value
        else:
            return self._found("media" if row == "media" or is_buffer(value) else "unknown", value)
        if (
            walked is value
            and entry.has_attributes
            and not self.is_clean(getattr(value, "__dict__", {}), depth)
        ):
            return self._found("whole", value)
        return walked

    def _container(self, value: Any, shape: Shape, opaque: Any, depth: int) -> Any:
        parts: Any = None
        # Methods of the caller's classes run here: whatever they raise may quote content.
        with contextlib.suppress(Exception):
            parts = shape.read(value)
        if isinstance(parts, dict):
            return self.keyed(value, parts, shape, opaque, depth)
        if isinstance(parts, list):
            return self.listed(value, parts, shape, opaque, depth)
        return self._found("unknown", value)

    def is_clean(self, value: Any, depth: int) -> bool:
        """Say whether nothing in ``value`` would be refused."""
        if type(value) in ATOMS or (type(value) is str and len(value) < SHORTEST_SPELLING):
            return True
        search = _Search(passes_unknown=False, containers=self.containers)
        try:
            search.value(value, None, depth + 1)
        except _FoundError:
            return False
        finally:
            self.containers = search.containers
        return True

    def _rebuilt(self, value: Any, parts: Any, shape: Shape, *, is_changed: bool) -> Any:
        if shape.build is not None:
            # Constructors of the caller's classes run here.
            with contextlib.suppress(Exception):
                return shape.build(value, parts)
        return self._found("whole", value) if is_changed or not shape.is_faithful else value

    def _found(self, kind: Kind, value: Any) -> Any:
        return self.refuse(Finding(kind, type(value).__name__), value)


def find_media(value: Any, *, unknown: Literal["refuse", "pass"] = "refuse") -> Finding | None:
    """Search a value, and return the first thing in it that must not travel.

    Args:
        value: Anything.
        unknown: Whether objects of unknown classes are findings, or are passed over.
    """
    search = _Search(passes_unknown=unknown == "pass")
    try:
        search.value(value)
    except _FoundError as found:
        return found.finding
    return None


def error_holds_media(error: BaseException) -> bool:
    """Say whether an exception holds a picture, or one does that handlers and tracers reach from it."""
    pending: list[BaseException] = [error]
    seen: set[int] = set()
    while pending:
        current = pending.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        try:
            found = find_media([str(current), current.args, vars(current)], unknown="pass")
        except Exception:  # noqa: BLE001  an error that can't be read can't be shown either
            return True
        if found is not None:
            return True
        inner = current.exceptions if isinstance(current, BaseExceptionGroup) else current.args
        linked = (current.__cause__, current.__context__, *inner)
        pending.extend(part for part in linked if isinstance(part, BaseException))
    return False


class _FoundError(Exception):
    def __init__(self, finding: Finding) -> None:
        super().__init__()
        self.finding = finding


class _Search(TreeWalk):
    def __init__(self, *, passes_unknown: bool, containers: int = 0) -> None:
        super().__init__(containers=containers)
        self._passes_unknown = passes_unknown

    def refuse(self, finding: Finding, value: Any) -> Any:
        if finding.kind == "unknown" and self._passes_unknown:
            return value
        raise _FoundError(finding)

    def is_clean(self, value: Any, depth: int) -> bool:
        self.value(value, None, depth + 1)
        return True
