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
import copy
import math
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NamedTuple

from langchain_vpp.images.pace import give_way
from langchain_vpp.messages.dialects import is_argument, is_reference, is_token_key, opaque_part
from langchain_vpp.messages.file_headers import SHORTEST_SPELLING, SHORTEST_WIDE, find_file_header
from langchain_vpp.messages.logprobs import LONGEST_TOKEN, is_token_probability
from langchain_vpp.messages.registry import ATOMS, DICT, LIST, Shape, entry_of, is_buffer, plain_numbers
from langchain_vpp.messages.schemas import described
from langchain_vpp.messages.shielded import shielded
from langchain_vpp.messages.spelled import PROSE, examined, numbers_spell_file, spelled_volume
from langchain_vpp.messages.volume import BUDGET, Tally, numbers_volume

if TYPE_CHECKING:
    from collections.abc import Sized

MAX_DEPTH: Final = 64
"""Deepest nesting that is walked."""

MAX_CONTAINERS: Final = 500_000
"""Most containers that are walked in one value, so that a hostile one ends within seconds."""

_CONTAINERS_AT_ONCE: Final = 128
_LARGE: Final = 2**64
_LONG_TEXT: Final = 1_024  # from which the search takes longer than to remember that it was made
_MOST_COLUMNS: Final = 24
_FEW_NUMBERS: Final = 5

MAX_BYTES: Final = 256
"""Longest bytes that pass without a known file header: enough for a digest or a nonce."""


Kind = Literal["text", "numbers", "bytes", "media", "key", "whole", "unknown", "deep", "reference", "volume"]

_REASONS: Final[dict[Kind, str]] = {
    "text": "a text spells a picture (base64, a data URL or similar); send it as an image block",
    "numbers": "numbers spell a picture",
    "bytes": "bytes hold a picture, or are too long to tell",
    "media": "pixels, or something that can't be looked into ({}), stand outside of an image block",
    "key": "a key of a mapping spells a picture, or can't be checked",
    "whole": "a {} holds what can't be protected, and can't be rebuilt without it",
    "unknown": "there is a {}, an object that is not known to be free of pixels",
    "deep": "something is nested too deeply, too large to be searched, or holds itself",
    "reference": "a picture or file is named that is stored elsewhere (a URL, an id or a bucket); send its bytes",
    "volume": "texts and numbers are as many as a picture takes, whatever they spell; send pictures as image blocks",
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


class _Visit:
    """A walk of one object: what stands for it, and how many containers it holds how deep."""

    __slots__ = ("containers", "height", "is_done", "result", "value")

    def __init__(self, value: Any) -> None:
        self.value = value  # kept alive, so that no other object gets its id
        self.result: Any = None
        self.is_done = False
        self.containers = 0
        self.height = 0


class TreeWalk:
    """Walks values by the registry. Subclasses say what becomes of findings.

    Values in which nothing changes are returned as they are, unless ``copies`` is set. Each object is walked once,
    however many others refer to it; one that holds itself is refused.
    """

    copies: ClassVar[bool] = False
    """True to build all containers anew from copied parts: nobody who holds the original can change the result."""

    knows_tokens: ClassVar[bool] = True
    """True to let long base64 without a file header pass where providers put opaque tokens."""

    judges: ClassVar[bool] = True
    """False to look for no pictures, in a walk that only copies."""

    knows_token_keys = False
    """True to know such places by the names of their keys, too."""

    passes_references = True
    """False to refuse mappings that name a picture or a file which is stored elsewhere."""
    passes_unknown = False  # whether objects of unknown classes are no findings

    def __init__(self, *, containers: int = 0) -> None:
        self.containers = containers
        self.tally = Tally()
        self._deepest = 0
        self._visited: dict[tuple[int, Any, bool], _Visit] = {}

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
        if kind is str:
            if len(value) < SHORTEST_WIDE or (len(value) < SHORTEST_SPELLING and value.isascii()):
                self.tally.add_piece(value)
                return value
            if len(value) < _LONG_TEXT:
                return self._text(value, opaque)
        if kind in ATOMS:
            return self._integer(value) if kind is int else value
        mark = (id(value), id(opaque) if type(opaque) is dict else opaque, self.passes_references)
        visit = self._visited.get(mark)
        if visit is not None:
            return self._again(value, visit, depth)
        return self._first_time(value, opaque, depth, mark)

    def counted(self, value: Any, walked: Any) -> Any:
        """Return ``walked``, which stands for ``value``, or refuse all of it if its texts and numbers are too many."""
        return self._found("volume", value) if self.tally.exceeds_budget(spelled_volume) else walked

    def _first_time(self, value: Any, opaque: Any, depth: int, mark: tuple[int, Any, bool]) -> Any:
        visit = self._visited[mark] = _Visit(value)
        before, deepest = self.containers, self._deepest
        self._deepest = depth
        kind = type(value)
        if kind is str:
            visit.result = self._text(value, opaque)
        elif kind is dict:
            visit.result = self.keyed(value, value, DICT, opaque, depth)
        elif kind is list:
            visit.result = self.listed(value, value, LIST, opaque, depth)
        else:
            visit.result = self._other(value, opaque, depth)
        visit.is_done = True
        visit.containers, visit.height = self.containers - before, self._deepest - depth
        if self._deepest < deepest:  # noqa: PLR1730  walks are full of this line, and a call takes longer
            self._deepest = deepest
        return visit.result

    def _again(self, value: Any, visit: _Visit, depth: int) -> Any:
        # What is shared counts as often as it is written out.
        self.containers += visit.containers
        if not visit.is_done or depth + visit.height > MAX_DEPTH or self.containers > MAX_CONTAINERS:
            return self._found("deep", value)
        self._deepest = max(self._deepest, depth + visit.height)
        return visit.result

    def _entered(self, depth: int) -> bool:
        self.containers += 1
        if not self.containers % _CONTAINERS_AT_ONCE:
            give_way()
        if depth > self._deepest:  # noqa: PLR1730  as above
            self._deepest = depth
        return depth <= MAX_DEPTH and self.containers <= MAX_CONTAINERS

    def keyed(self, value: Any, parts: dict[Any, Any], shape: Shape, opaque: Any, depth: int) -> Any:
        """Walk a mapping or an object by its parts."""
        if not self._entered(depth):
            return self._found("deep", value)
        if self.copies:
            parts = {**parts}
        if self.judges and "token" in parts and is_token_probability(parts):
            return self._token_probability(value, parts, shape, depth)
        fault = self._fault_of(parts, depth) if self.judges else None
        if fault is not None:
            return self._found(fault, value)
        changed: dict[Any, Any] = {}
        for key, item in parts.items():
            item_type = type(item)
            if item_type in ATOMS and (item_type is not int or -_LARGE < item < _LARGE):
                continue
            if key == "type" and item_type is str and len(item) < SHORTEST_SPELLING:
                continue
            walked = self._part(key, item, parts, opaque, depth)
            if walked is not item:
                changed[key] = walked
        if not changed and shape.is_faithful and not self.copies:
            return value
        return self._rebuilt(value, {**parts, **changed}, shape, is_changed=bool(changed))

    def _fault_of(self, parts: dict[Any, Any], depth: int) -> Kind | None:
        """Return what a mapping is refused for as a whole."""
        key = None
        for key in parts:
            if (type(key) is not str or len(key) >= SHORTEST_SPELLING) and not self.is_clean(key, depth):
                return "key"
        if not self.passes_references and is_reference(parts):
            return "reference"
        if numbers := [item for item in parts.values() if type(item) in ATOMS and item is not None]:
            if _spell_picture(numbers, parts):
                return "numbers"
            is_name = type(key) is str and not key[-1:].isdecimal()
            self.tally.add_numbers(numbers, are_row=is_name and len(parts) < _MOST_COLUMNS)
        return None

    def _part(self, key: Any, item: Any, parts: dict[Any, Any], opaque: Any, depth: int) -> Any:
        opaque = opaque_part(key, parts, opaque)
        if self.knows_token_keys and not opaque and type(item) is str and len(item) > LONGEST_TOKEN:
            opaque = is_token_key(key, parts)
        if self.passes_references or not is_argument(key, parts):
            return self.value(item, opaque, depth + 1)
        # Arguments of a call are a model's own words, which no provider follows.
        self.passes_references = True
        try:
            return self.value(item, opaque, depth + 1)
        finally:
            self.passes_references = False

    def _token_probability(self, value: Any, parts: dict[Any, Any], shape: Shape, depth: int) -> Any:
        """Walk the logarithmic probability of a token: a short text, its bytes, a number, and its alternatives."""
        self.tally.add_piece(parts["token"])
        changed: dict[Any, Any] = {}
        for key in ("top_logprobs", "bytes"):
            item = parts.get(key)
            if isinstance(item, list) and (key != "bytes" or self.copies):
                walked = self.value(item, None, depth + 1) if key != "bytes" else [*item]
                if walked is not item:
                    changed[key] = walked
        if not changed and not self.copies:
            return value
        return self._rebuilt(value, {**parts, **changed}, shape, is_changed=bool(changed))

    def listed(self, value: Any, parts: list[Any], shape: Shape, opaque: Any, depth: int) -> Any:
        """Walk a sequence or a set by its parts."""
        if not self._entered(depth):
            return self._found("deep", value)
        if self.copies:
            parts = [*parts]
        if self.judges and (numbers := plain_numbers(parts)):
            if _spell_picture(numbers, parts):
                return self._found("numbers", value)
            self.tally.add_numbers(numbers)
        expected = opaque if isinstance(opaque, dict) else None
        walked = [self.value(item, expected, depth + 1) for item in parts]
        is_changed = any(new is not old for new, old in zip(walked, parts, strict=True))
        if not is_changed and shape.is_faithful and not self.copies:
            return value
        return self._rebuilt(value, walked, shape, is_changed=is_changed)

    def _integer(self, value: int) -> Any:
        if -_LARGE < value < _LARGE or not self.judges:
            return value
        self.tally.add_numbers([value])
        return self._found("numbers", value) if numbers_spell_file([value] * 5) else value

    def _text(self, text: str, opaque: Any) -> Any:
        if not self.judges:
            return text
        # Methods of a subclass are not asked.
        plain = text if type(text) is str else str.__str__(text)
        is_token = opaque is True and self.knows_tokens
        examination = examined(plain, opaque=is_token)
        if examination.volume >= BUDGET:
            return self._found("text", text)
        if not is_token and examination is not PROSE:
            self.tally.add_text(plain, examination.volume, may_be_piece=examination.may_be_piece)
        return text

    def _bytes(self, value: Any, opaque: Any) -> Any:
        try:
            data = memoryview(value).tobytes()
        except ValueError:  # of a view that was released
            return self._found("media", value)
        if self.judges and not self._passes_bytes(data, opaque):
            return self._found("bytes", value)
        # Others may still change these.
        return type(value)(data) if self.copies and not isinstance(value, bytes) else value

    def _passes_bytes(self, data: bytes, opaque: Any) -> bool:
        is_token = opaque is True and self.knows_tokens
        if not (is_token or len(data) <= MAX_BYTES) or find_file_header(data) is not None:
            return False
        text = data.decode("latin-1")
        examination = examined(text)
        if not is_token:
            self.tally.add_text(text, examination.volume, may_be_piece=True)
        return examination.volume < math.inf

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
            and self.judges
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
        search = _Search(passes_unknown=self.passes_unknown, containers=self.containers)
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
            if self.copies and not is_changed and isinstance(parts, dict):
                with contextlib.suppress(Exception):
                    return _copied_with(value, parts)
        can_stay = shape.is_faithful and not is_changed and (shape.build is None or not self.copies)
        return value if can_stay else self._found("whole", value)

    def _found(self, kind: Kind, value: Any) -> Any:
        return self.refuse(Finding(kind, type(value).__name__), value)


@shielded("the search of a value")
def find_media(
    value: Any, *, unknown: Literal["refuse", "pass"] = "refuse", references: bool = False
) -> Finding | None:
    """Search a value, and return the first thing in it that must not travel.

    Args:
        value: Anything.
        unknown: Whether objects of unknown classes are findings, or are passed over.
        references: Whether mappings that name a picture or a file elsewhere are findings.
    """
    search = _Search(passes_unknown=unknown == "pass")
    search.passes_references = not references
    try:
        search.counted(value, search.value(value))
    except _FoundError as found:
        return found.finding
    return None


class _FoundError(Exception):
    def __init__(self, finding: Finding) -> None:
        super().__init__()
        self.finding = finding


class _Search(TreeWalk):
    def __init__(self, *, passes_unknown: bool, containers: int = 0) -> None:
        super().__init__(containers=containers)
        self.passes_unknown = passes_unknown

    def refuse(self, finding: Finding, value: Any) -> Any:
        if finding.kind != "unknown" or not self.passes_unknown:
            raise _FoundError(finding)
        self.value(described(value))
        return value

    def is_clean(self, value: Any, depth: int) -> bool:
        self.value(value, None, depth + 1)
        return True

    def keyed(self, value: Any, parts: dict[Any, Any], shape: Shape, opaque: Any, depth: int) -> Any:
        self.value(described(type(value)) if self.passes_unknown else None)
        return super().keyed(value, parts, shape, opaque, depth)


def _copied_with(value: Any, parts: dict[Any, Any]) -> Any:
    """Copy an object that its own constructor does not build again, and give it copies of its parts."""
    clone = copy.copy(value)
    for name, part in parts.items():
        object.__setattr__(clone, name, part)
    return clone


def _spell_picture(numbers: list[Any], parts: Sized) -> bool:
    """Say whether the numbers of one container are the bytes of a file, or as many as a picture has."""
    if len(numbers) < _FEW_NUMBERS:
        return False
    return (len(numbers) == len(parts) and numbers_spell_file(numbers)) or numbers_volume(numbers) >= BUDGET
