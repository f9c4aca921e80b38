"""The parts of a composed Runnable: whatever a class calls them, each is found and protected in its place."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import types
from typing import TYPE_CHECKING, Any, ClassVar, Final

from langchain_core.messages import BaseMessage
from langchain_core.output_parsers import BaseLLMOutputParser
from langchain_core.prompts.base import BasePromptTemplate
from langchain_core.prompts.message import BaseMessagePromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableGenerator, RunnableLambda, RunnablePassthrough
from langchain_core.runnables.base import RunnableBindingBase
from langchain_core.runnables.configurable import RunnableConfigurableAlternatives
from langchain_core.tools import BaseTool
from pydantic import BaseModel

from langchain_vpp.runnables.classes import move_to_class, subclass_of
from langchain_vpp.runnables.functions import Guard, Stand
from langchain_vpp.runnables.graphs import is_of_langgraph, with_protected_nodes
from langchain_vpp.runnables.values import Reading, aprotect_value, protect_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_core.runnables import RunnableConfig

    from langchain_vpp.guard.gate import Gate

    # Type of super() in the mixin. At run time it stands in front of the concrete class.
    _AnyPrompt = BasePromptTemplate[Any]
else:
    _AnyPrompt = object

_DEEPEST: Final = 64
_METHODS: Final = (
    "_run", "_arun", "_get_relevant_documents", "_aget_relevant_documents", "format_prompt", "aformat_prompt",
    "parse_result", "aparse_result",
)  # fmt: skip
_FUNCTIONS: Final = ("func", "afunc")
_CORE: Final = "langchain_core."
_HOLDERS: Final = (Runnable, BaseModel, dict, list, tuple, set, frozenset)
_CACHED: Final = "deps"  # of a RunnableLambda: the parts before they were protected


class PartsWalk:
    """Protects the parts of one composition. The composition itself is not changed.

    Args:
        protector: Protects the pictures.
        stand: Protects the Runnables that functions refer to, or return, when they do.
        leaf: Returns what stands for a part that is protected as a whole, such as a chat model; ``None`` for others.
    """

    def __init__(self, protector: Gate, stand: Stand, *, leaf: Callable[[Any], Any | None]) -> None:
        self._protector = protector
        self._stand = stand
        self._leaf = leaf
        self._guard = Guard(protector, stand)
        # By identity, with the part, so that it lives as long. A part that holds itself stands for itself.
        self._done: dict[int, tuple[Any, Any]] = {}

    def part(self, part: Any, depth: int = 0) -> Any:
        """Return ``part``, or what stands for it."""
        if depth > _DEEPEST or not (isinstance(part, _HOLDERS) or _is_record(part)):
            return part
        if id(part) not in self._done:
            self._done[id(part)] = (part, part)
            self._done[id(part)] = (part, self._converted(part, depth))
        return self._done[id(part)][1]

    def inside(self, composition: Any) -> Any:
        """Return a composition with its parts protected, whatever stands for the composition itself."""
        self._done[id(composition)] = (composition, composition)
        return self._converted(composition, 0, is_whole=True)

    def _converted(self, part: Any, depth: int, *, is_whole: bool = False) -> Any:  # noqa: PLR0911  one table of shapes
        if isinstance(part, Runnable) and not is_whole and (leaf := self._leaf(part)) is not None:
            return leaf
        if isinstance(part, RunnableLambda | RunnablePassthrough):
            return _with_attributes(
                part, {name: self._guard.function(getattr(part, name, None)) for name in _FUNCTIONS}
            )
        if isinstance(part, RunnableGenerator):
            return self._generator(part)
        if isinstance(part, BasePromptTemplate):
            return self._prompt(part)
        is_parser = isinstance(part, BaseLLMOutputParser) and not type(part).__module__.startswith(_CORE)
        if is_parser or isinstance(part, BaseTool | BaseRetriever):
            return self._with_methods(self._object(part, depth))
        if isinstance(part, BaseMessage):
            return part
        if is_of_langgraph(part):
            return self._graph(part)
        if isinstance(part, RunnableConfigurableAlternatives):
            return self._object(part, depth, alternatives=self._alternatives(part, depth))
        if isinstance(part, Runnable | BaseModel) or _is_record(part):
            return self._object(part, depth)
        return self._container(part, depth)

    def _graph(self, part: Any) -> Any:
        return with_protected_nodes(
            part,
            function=self._guard.node,
            runnable=self._stand.alone,
            tool=self._tool,
            with_attributes=_with_attributes,
        )

    def _tool(self, tool: BaseTool) -> BaseTool:
        """Protect a tool of a graph, and the Runnables that its functions refer to."""
        functions = {name: getattr(tool, name, None) for name in ("func", "coroutine")}
        protected: BaseTool = self._stand.tool(
            _with_attributes(tool, {name: self._guard.node(function) for name, function in functions.items()})
        )
        return protected

    def _object(self, part: Any, depth: int, **known: Any) -> Any:
        attributes = {name: self.part(value, depth + 1) for name, value in attributes_of(part).items()}
        if isinstance(part, Runnable) and not type(part).__module__.startswith(_CORE):
            attributes = {name: self._guard.reference(value) for name, value in attributes.items()}
        return _with_attributes(part, attributes | known)

    def _container(self, part: Any, depth: int) -> Any:
        if isinstance(part, dict):
            items = {name: self.part(item, depth + 1) for name, item in part.items()}
            if all(items[name] is item for name, item in part.items()):
                return part
            clone = copy.copy(part)  # of the same class
            clone.update(items)
            return clone
        parts = [self.part(item, depth + 1) for item in part]
        if all(new is old for new, old in zip(parts, part, strict=True)):
            return part
        make: Any = getattr(part, "_make", type(part))  # of a named tuple
        return make(parts)

    def _alternatives(self, part: RunnableConfigurableAlternatives[Any, Any], depth: int) -> dict[str, Any]:
        return {
            name: self.part(made, depth + 1) if isinstance(made, Runnable) else self._factory(made)
            for name, made in part.alternatives.items()
        }

    def _factory(self, make: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: self._stand.alone(make())

    def _with_methods(self, part: Any) -> Any:
        """Return a tool, a retriever, a prompt or a parser whose output is protected before its run records it."""
        cls = type(part)
        if hasattr(cls, "vpp_protector"):
            return part
        names = [name for name in _METHODS if hasattr(cls, name)]
        methods = {name: self._guard.method(getattr(cls, name)) for name in names}
        return move_to_class(part, subclass_of(cls, vpp_protector=self._protector, **methods))

    def _generator(self, part: RunnableGenerator[Any, Any]) -> Any:
        held = vars(part)
        changes = {"_transform": self._guard.transform, "_atransform": self._guard.atransform}
        return _with_attributes(
            part, {name: guard(held[name]) for name, guard in changes.items() if name in held}
        )

    def alone(self, part: Runnable[Any, Any]) -> Runnable[Any, Any]:
        """Return what stands for a part that keeps its class, where a function calls it by itself."""
        converted: Runnable[Any, Any] = self.part(part)
        if not isinstance(converted, BasePromptTemplate) or isinstance(converted, _SealingEntries):
            return converted
        return move_to_class(
            converted, subclass_of(type(converted), _SealingEntries, vpp_protector=self._protector)
        )

    def _prompt(self, part: BasePromptTemplate[Any]) -> Any:
        """Protect the messages that stand in a template, and seal other pictures: its runs record them."""
        template = protect_value(self._protector, part, level=None, reading=Reading("hold"))
        partial = {
            name: self._guard.function(value) if callable(value) else value
            for name, value in template.partial_variables.items()
        }
        filled = _with_attributes(template, {"partial_variables": partial})
        return filled if _only_fills_in(filled) else self._with_methods(filled)


class _SealingEntries(_AnyPrompt):
    """Mixin of a prompt that seals pictures in its variables before its run records them."""

    vpp_protector: ClassVar[Gate]

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        value = protect_value(self.vpp_protector, input, level=None, reading=Reading("hold"))
        return super().invoke(value, config, **kwargs)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        value = await aprotect_value(self.vpp_protector, input, level=None, reading=Reading("hold"))
        return await super().ainvoke(value, config, **kwargs)


def settings_of(part: Any) -> list[Any]:
    """Return the arguments and configs that are bound to Runnables anywhere in a composition."""
    return [(each.kwargs, each.config) for each in parts_of(part) if isinstance(each, RunnableBindingBase)]


def parts_of(part: Any) -> Iterator[Any]:
    """Yield a composition, and everything inside that its attributes lead to."""
    pending, seen = [part], set[int]()
    while pending:
        each = pending.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        if (
            isinstance(each, Runnable | BaseModel)
            and not isinstance(each, BaseMessage)
            and not is_of_langgraph(each)
        ):
            pending.extend(attributes_of(each).values())
        elif type(each) is dict:
            pending.extend(each.values())
        elif type(each) in (list, tuple):
            pending.extend(each)


def is_core_composition(part: Any) -> bool:
    """Say whether a Runnable is of one of LangChain's own classes of compositions."""
    return type(part).__module__.startswith(f"{_CORE}runnables.")


def attributes_of(part: Any) -> dict[str, Any]:
    """Return all attributes that an object holds, wherever its class keeps them."""
    if isinstance(part, BaseModel):
        return {**part.__dict__, **(part.__pydantic_extra__ or {}), **(part.__pydantic_private__ or {})}
    held: dict[str, Any] = {}
    for cls in type(part).__mro__:
        for name, slot in vars(cls).items():
            if isinstance(slot, types.MemberDescriptorType):
                with contextlib.suppress(AttributeError):  # nothing is in it yet
                    held[name] = slot.__get__(part)
    return held | getattr(part, "__dict__", {})


def _is_record(part: Any) -> bool:
    """Say whether an object is one of a dataclass."""
    return dataclasses.is_dataclass(part) and not isinstance(part, type)


def _only_fills_in(part: Any) -> bool:
    """Say whether a prompt only puts its variables into templates: it selects no examples, and computes nothing."""
    if isinstance(part, list | tuple):
        return all(map(_only_fills_in, part))
    if not isinstance(part, BasePromptTemplate | BaseMessagePromptTemplate):
        return True
    is_known = type(part).__module__.startswith(f"{_CORE}prompts.")
    selects = getattr(part, "example_selector", None) is not None
    return is_known and not selects and all(map(_only_fills_in, attributes_of(part).values()))


def _with_attributes(part: Any, attributes: dict[str, Any]) -> Any:
    """Return ``part``, or a copy of it with other attributes where they differ."""
    held = attributes_of(part)
    changed = {name: new for name, new in attributes.items() if new is not None and new is not held.get(name)}
    if not changed:
        return part
    if isinstance(part, BaseModel):
        return _model_with(part, changed)
    cls: Any = type(part)
    clone = copy.copy(part) if hasattr(cls, "__copy__") else cls.__new__(cls)
    # Not by copy.copy: it asks for attributes that an empty object doesn't have, and some classes answer for all.
    for name, value in {**held, **changed}.items():
        if name != _CACHED:
            object.__setattr__(clone, name, value)
    return clone


def _model_with(part: BaseModel, changed: dict[str, Any]) -> BaseModel:
    clone = part.model_copy()
    for place in ("__dict__", "__pydantic_extra__", "__pydantic_private__"):
        held = getattr(clone, place) or {}
        if place == "__dict__":
            # Without cached properties, which hold the old parts.
            held = {name: value for name, value in held.items() if name in type(part).model_fields}
        object.__setattr__(clone, place, {name: changed.get(name, value) for name, value in held.items()})
    return clone
