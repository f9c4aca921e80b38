"""The nodes of a graph of langgraph: the models and tools that they refer to are protected.

What a node gets and returns is the graph's own affair: its state stays as it is.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, Final

from langchain_core.tools import BaseTool

if TYPE_CHECKING:
    from collections.abc import Callable

_LANGGRAPH: Final = "langgraph."
_FUNCTIONS: Final = ("func", "afunc")


def is_of_langgraph(part: Any) -> bool:
    """Say whether a Runnable is a graph of langgraph, or one of the parts that such graphs are made of."""
    return any(base.__module__.startswith(_LANGGRAPH) for base in type(part).__mro__)


def is_graph(part: Any) -> bool:
    """Say whether a Runnable is a compiled graph of langgraph."""
    return is_of_langgraph(part) and isinstance(getattr(part, "nodes", None), dict)


def with_protected_nodes(
    part: Any,
    *,
    function: Callable[[Any], Any],
    runnable: Callable[[Any], Any],
    tool: Callable[[BaseTool], BaseTool],
    with_attributes: Callable[[Any, dict[str, Any]], Any],
) -> Any:
    """Return a graph, or a part of one, in which models and tools are protected. It is not changed.

    Args:
        part: A graph, a node, or what a node runs.
        function: Returns a function in which the Runnables that it refers to are protected.
        runnable: Returns what stands for a Runnable that is none of langgraph's.
        tool: Returns a protected tool.
        with_attributes: Returns a copy of an object with other attributes.
    """

    def converted(value: Any) -> Any:
        if isinstance(value, BaseTool):
            return tool(value)
        return inside(value) if is_of_langgraph(value) else runnable(value)

    def inside(each: Any) -> Any:
        if is_graph(each):
            nodes = {name: inside(node) for name, node in each.nodes.items()}
            return with_attributes(each, {"nodes": nodes} if _differ(nodes, each.nodes) else {})
        held = {**vars(each)}
        if "bound" in held:  # a node, which derives what it runs from it
            bound = converted(each.bound)
            return each if bound is each.bound else each.copy({"bound": bound})
        own = {name for name, value in held.items() if getattr(value, "__self__", None) is each}
        changes = {name: _attribute(name, held[name], function, converted) for name in held.keys() - own}
        clone = with_attributes(each, changes)
        for name in own if clone is not each else ():
            object.__setattr__(clone, name, types.MethodType(held[name].__func__, clone))
        return clone

    return inside(part)


def _attribute(name: str, value: Any, function: Callable[[Any], Any], converted: Callable[[Any], Any]) -> Any:
    if name in _FUNCTIONS:
        return function(value)
    if name == "steps" and isinstance(value, list):
        return [converted(step) for step in value]
    if isinstance(value, dict) and any(isinstance(item, BaseTool) for item in value.values()):
        return {key: converted(item) if isinstance(item, BaseTool) else item for key, item in value.items()}
    return value


def _differ(new: dict[str, Any], old: dict[str, Any]) -> bool:
    return any(new[name] is not old[name] for name in old)
