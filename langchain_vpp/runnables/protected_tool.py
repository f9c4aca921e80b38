"""Tools whose arguments and output are protected before a run records them."""

from __future__ import annotations

import contextlib
import functools
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar, cast

from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool, ToolException
from langchain_core.tools.base import TOOL_MESSAGE_BLOCK_TYPES
from PIL import Image

from langchain_vpp.errors import ProtectionError
from langchain_vpp.guard.conversations import conversation_of, conversing, hidden_in, restored_in
from langchain_vpp.guard.level import requested_level
from langchain_vpp.guard.pool import in_thread
from langchain_vpp.images.given import image_bytes
from langchain_vpp.messages.base64 import encode_base64
from langchain_vpp.messages.failures import error_holds_media
from langchain_vpp.messages.file_headers import find_file_header
from langchain_vpp.runnables.calls import check_call, check_callbacks
from langchain_vpp.runnables.classes import move_to_class, subclass_of
from langchain_vpp.runnables.in_place import protect_in_place
from langchain_vpp.runnables.values import protect_value

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from langchain_core.runnables import RunnableConfig

    from langchain_vpp.guard.gate import Gate
    from langchain_vpp.guard.level import RequestLevel

    # Type of super() in the mixin. At run time it stands in front of the concrete class.
    _AnyTool = BaseTool
else:
    _AnyTool = object

_T = TypeVar("_T", bound=BaseTool)
_OTHER_ENTRIES: Final = (
    "stream", "astream", "batch", "abatch", "batch_as_completed", "abatch_as_completed", "transform", "atransform",
    "stream_events",
)  # fmt: skip
_WITHHELD: Final = "The tool failed with a picture in its error, so the error was withheld."
_WITHHELD_TEXT: Final = "The tool failed with something hidden in its error, so the error was withheld."
_CONTROL: Final = ("langgraph.errors", "GraphBubbleUp")
"""Base of the exceptions by which a tool directs its graph."""
_INVALID: Final = "The tool was not called: what its arguments stand for does not fit its schema."


class _ProtectedTool(_AnyTool):
    vpp_protector: ClassVar[Gate]
    vpp_restores: ClassVar[bool] = False  # its output goes to a model
    vpp_gets_values: ClassVar[bool] = False

    # These two hand out the input of the call beside its output.

    def astream_events(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """See :meth:`Runnable.astream_events`."""
        if kwargs.get("version") == "v3":
            return Runnable.astream_events(self, input, config, **kwargs)  # which tools don't have
        return self._pieces(Runnable.astream_events, input, config, kwargs)

    def astream_log(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """See :meth:`Runnable.astream_log`."""
        return self._pieces(Runnable.astream_log, input, config, kwargs)

    async def _pieces(
        self,
        entry: Callable[..., Any],
        tool_input: Any,
        config: RunnableConfig | None,
        kwargs: dict[str, Any],
    ) -> AsyncIterator[Any]:
        tool_input = await in_thread(_protect_arguments, self, tool_input, (), {"config": config})
        async with aclosing(entry(self, tool_input, config, **kwargs)) as pieces:
            async for piece in pieces:
                yield piece

    def __reduce__(self) -> str | tuple[Any, ...]:
        msg = "A protected tool can't be pickled; call protect_tool() in each process"
        raise TypeError(msg)


def guarded_tool(tool: _T, protector: Gate, composing: type, *, restore: bool = False) -> _T:
    """Protect a tool; see :func:`langchain_vpp.tools.protect_tool`.

    Args:
        tool: Any tool.
        protector: Protects the pictures.
        composing: Mixin whose methods compose the tool with other Runnables.
        restore: Whether the tool gets the values that tokens stand for.
    """
    if not isinstance(tool, BaseTool):
        msg = f"protect_tool() takes a BaseTool, not a {type(tool).__name__}"
        raise TypeError(msg)
    if isinstance(tool, _ProtectedTool):
        if tool.vpp_protector is not protector:
            raise ProtectionError(
                "This tool is protected by another protector already; protect the bare tool."
            )
        return tool if tool.vpp_gets_values >= restore else move_to_class(tool, _with_values(type(tool)))
    methods = _guarded_methods(type(tool), protector)
    clone: _T = move_to_class(
        tool, subclass_of(type(tool), _ProtectedTool, composing, vpp_protector=protector, **methods)
    )
    # Results of these handlers become the tool's content without another pass through the tool.
    for name in ("handle_tool_error", "handle_validation_error"):
        handler: Any = getattr(clone, name)
        if callable(handler):
            setattr(clone, name, _guarded_handler(handler, protector))
    return move_to_class(clone, _with_values(type(clone))) if restore else clone


def protect_output(protector: Gate, output: Any) -> Any:
    """Protect the output of a tool, and keep its shape.

    Raises:
        ProtectionError: If anything in it can't be protected.
    """
    if isinstance(output, Image.Image) or (isinstance(output, bytes) and find_file_header(output) == 0):
        return _protect_message(protector, [_image_block(output)]).content
    if isinstance(output, BaseMessage):
        return protector.protect_messages([output], level=requested_level(None))[0]
    if isinstance(output, str) or _is_content(output):
        return _protect_message(protector, output).content
    return protect_value(protector, output, level=requested_level(None))


def _guarded_output(cls: Any, name: str, protector: Gate) -> Callable[..., Any]:
    # With the method's signature: core reads from it which arguments to inject.
    method = getattr(cls, name)

    @functools.wraps(method)
    def run(self: BaseTool, *args: Any, **kwargs: Any) -> Any:
        refusal = None
        try:
            output = method(self, *args, **kwargs)
        except Exception as error:
            refusal = _refusal_of(error, protector)
            if refusal is None:
                raise
        if refusal is not None:
            raise refusal
        return _protect_result(self, output, protector)

    return run


def _aguarded_output(cls: Any, name: str, protector: Gate) -> Callable[..., Any]:
    method = getattr(cls, name)

    @functools.wraps(method)
    async def arun(self: BaseTool, *args: Any, **kwargs: Any) -> Any:
        refusal = None
        try:
            output = await method(self, *args, **kwargs)
        except Exception as error:
            refusal = _refusal_of(error, protector)
            if refusal is None:
                raise
        if refusal is not None:
            raise refusal
        return await in_thread(_protect_result, self, output, protector)

    return arun


def _guarded_input(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def run(self: _ProtectedTool, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        with conversing(conversation_of(kwargs.get("config"))):
            return method(self, _protect_arguments(self, tool_input, args, kwargs), *args, **kwargs)

    return run


def _aguarded_input(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def arun(self: _ProtectedTool, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        with conversing(conversation_of(kwargs.get("config"))):
            arguments = await in_thread(_protect_arguments, self, tool_input, args, kwargs)
            return await method(self, arguments, *args, **kwargs)

    return arun


def _guarded_methods(cls: type[BaseTool], protector: Gate) -> dict[str, Any]:
    """Return guards for all methods that take arguments or return output.

    Core's ``invoke`` calls its ``run``, and that calls ``_run``. A class may have its own of each. The other entry
    points become those of ``Runnable``, which call ``invoke``: pieces of a picture can't be told from text.
    """
    methods: dict[str, Any] = {
        name: getattr(Runnable, name) for name in _OTHER_ENTRIES if hasattr(Runnable, name)
    }
    methods["_run"] = _guarded_output(cls, "_run", protector)
    methods["_arun"] = _aguarded_output(cls, "_arun", protector)
    for guard_output, guard_input, names in (
        (_guarded_output, _guarded_input, ("run", "invoke")),
        (_aguarded_output, _aguarded_input, ("arun", "ainvoke")),
    ):
        for name in names:
            is_own = not getattr(cls, name).__module__.startswith("langchain_core.")
            method = guard_output(cls, name, protector) if is_own else getattr(cls, name)
            if is_own or name.endswith("run"):
                methods[name] = guard_input(method)
    return methods


def _with_values(cls: type[_T]) -> type[_T]:
    """Derive the class of a tool whose arguments hold values once its run has recorded them with tokens."""
    convert: Any = cls._to_args_and_kwargs

    def converted(self: Any, tool_input: Any, tool_call_id: str | None) -> Any:
        vault = self.vpp_protector.conversations.current().vault
        recorded = self._filter_injected_args(tool_input) if isinstance(tool_input, dict) else tool_input
        values = restored_in(recorded, vault)
        if values is recorded:
            return convert(self, tool_input, tool_call_id)
        given = {**tool_input, **values} if isinstance(tool_input, dict) else values
        with contextlib.suppress(Exception):  # it quotes the values
            return convert(self, given, tool_call_id)
        convert(self, tool_input, tool_call_id)  # which quotes tokens
        raise ToolException(_INVALID)

    return subclass_of(cls, vpp_gets_values=True, _to_args_and_kwargs=converted)


def _refusal_of(error: Exception, protector: Gate) -> Exception | None:
    """Return the error in whose place another one must be raised; ``None`` if it may be shown.

    Runs, handlers and models are shown errors with all that they hold.
    """
    if error_holds_media(error):
        return ProtectionError(_WITHHELD)
    text, vault = str(error), protector.conversations.current().vault
    hidden = hidden_in(text, vault)
    if hidden == text:
        return None
    if any((each.__module__, each.__name__) == _CONTROL for each in type(error).__mro__):
        error.args = hidden_in(error.args, vault)  # such as an interrupt, which asks a person
        return None
    return ToolException(hidden) if isinstance(error, ToolException) else ProtectionError(_WITHHELD_TEXT)


def _protect_arguments(
    tool: _ProtectedTool, tool_input: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Protect the arguments that a run records, and refuse pictures in its settings."""
    config = kwargs.get("config")
    others = {name: value for name, value in kwargs.items() if name not in ("config", "callbacks")}
    check_call(config, {"args": args, **others})
    check_callbacks(kwargs.get("callbacks"))
    return _protect_recorded(tool, tool_input, requested_level(config))


def _protect_recorded(tool: Any, tool_input: Any, level: RequestLevel | None) -> Any:
    recorded = tool_input
    vault = tool.vpp_protector.conversations.current().vault
    if isinstance(tool_input, dict):
        arguments = tool_input.get("args")
        if tool_input.get("type") == "tool_call" and isinstance(arguments, dict):
            return {**tool_input, "args": _protect_recorded(tool, arguments, level)}
        # The rest is injected: a state, a store, a runtime. Tools need it whole, and no run records it.
        recorded = tool._filter_injected_args(tool_input)  # noqa: SLF001  core asks the same
    protected = protect_in_place(tool.vpp_protector, recorded, place="the arguments of a tool", level=level)
    protected = hidden_in(protected, vault)
    if protected is recorded:
        return tool_input
    return {**tool_input, **protected} if isinstance(tool_input, dict) else protected


def _guarded_handler(handler: Callable[[Any], Any], protector: Gate) -> Callable[[Any], Any]:
    return lambda error: protect_output(protector, handler(error))


def _protect_result(tool: BaseTool, output: Any, protector: Gate) -> Any:
    if tool.response_format == "content_and_artifact" and isinstance(output, tuple) and len(output) == 2:
        content, artifact = output
        return protect_output(protector, content), _protect_message(protector, "", artifact).artifact
    return protect_output(protector, output)


def _protect_message(protector: Gate, content: Any, artifact: Any = None) -> ToolMessage:
    message = ToolMessage(content=content, artifact=artifact, tool_call_id="")
    level = requested_level(None)
    return cast("ToolMessage", protector.protect_messages([message], level=level)[0])


def _is_content(output: Any) -> bool:
    """Say whether core would put ``output`` into a message as it is, rather than its text."""
    return isinstance(output, list) and all(
        isinstance(item, str) or (isinstance(item, dict) and item.get("type") in TOOL_MESSAGE_BLOCK_TYPES)
        for item in output
    )


def _image_block(picture: Image.Image | bytes) -> dict[str, str]:
    return {"type": "image", "base64": encode_base64(image_bytes(picture)), "mime_type": "image/png"}
