"""Tools whose output is protected before their own run records it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar, cast

from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.tools import BaseTool
from langchain_core.tools.base import TOOL_MESSAGE_BLOCK_TYPES
from PIL import Image

from langchain_vpp.errors import ProtectionError
from langchain_vpp.guard.level import requested_level
from langchain_vpp.guard.pictures import image_bytes
from langchain_vpp.guard.pool import in_thread
from langchain_vpp.messages.base64 import encode_base64
from langchain_vpp.messages.spelled import find_file_header
from langchain_vpp.messages.tree import error_holds_media
from langchain_vpp.runnables.classes import move_to_class, subclass_of
from langchain_vpp.runnables.values import protect_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_vpp.guard.gate import Gate

_T = TypeVar("_T", bound=BaseTool)
_WITHHELD: Final = "The tool failed with a picture in its error, so the error was withheld."


class _ProtectedTool:
    vpp_protector: ClassVar[Gate]


def protect_tool(tool: _T, protector: Gate) -> _T:
    """Protect the output of a tool: content, artifact, messages and ``Command``.

    The output of the tool's error handlers is protected too, and an error that holds a picture is withheld. A tool
    may return pictures as a PIL image, as the bytes of an encoded picture, or as content blocks in any dialect that
    messages may hold. An artifact must hold none: it is refused, or dropped, as the protector's ``on_unsupported``
    says. The arguments of the tool are not protected: a tool may need an original.

    Args:
        tool: Any tool. It is not changed.
        protector: Protects the output.

    Returns:
        A copy of the tool, of a subclass of its class.

    Raises:
        TypeError: If ``tool`` is no ``BaseTool``.
        ProtectionError: If it is protected by another protector already. Calling the tool raises it when the
            output can't be protected.
    """
    if not isinstance(tool, BaseTool):
        msg = f"protect_tool() takes a BaseTool, not a {type(tool).__name__}"
        raise TypeError(msg)
    if isinstance(tool, _ProtectedTool):
        if tool.vpp_protector is protector:
            return tool
        raise ProtectionError("This tool is protected by another protector already; protect the bare tool.")
    methods = _guarded_methods(type(tool), protector)
    clone = move_to_class(tool, subclass_of(type(tool), _ProtectedTool, vpp_protector=protector, **methods))
    # Results of these handlers become the tool's content without another pass through the tool.
    for name in ("handle_tool_error", "handle_validation_error"):
        handler: Any = getattr(clone, name)
        if callable(handler):
            setattr(clone, name, _guarded_handler(handler, protector))
    return clone


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


def _sync(cls: Any, name: str, protector: Gate) -> Callable[..., Any]:
    # With the method's signature: core reads from it which arguments to inject.
    method = getattr(cls, name)

    @functools.wraps(method)
    def run(self: BaseTool, *args: Any, **kwargs: Any) -> Any:
        withheld = False
        try:
            output = method(self, *args, **kwargs)
        except Exception as error:
            withheld = error_holds_media(error)
            if not withheld:
                raise
        if withheld:
            raise ProtectionError(_WITHHELD)
        return _protect_result(self, output, protector)

    return run


def _async(cls: Any, name: str, protector: Gate) -> Callable[..., Any]:
    method = getattr(cls, name)

    @functools.wraps(method)
    async def arun(self: BaseTool, *args: Any, **kwargs: Any) -> Any:
        withheld = False
        try:
            output = await method(self, *args, **kwargs)
        except Exception as error:
            withheld = error_holds_media(error)
            if not withheld:
                raise
        if withheld:
            raise ProtectionError(_WITHHELD)
        return await in_thread(_protect_result, self, output, protector)

    return arun


def _guarded_methods(cls: type[BaseTool], protector: Gate) -> dict[str, Any]:
    """Return guards for the methods that return output: core's run calls ``_run``; a class may have its own run."""
    methods = {"_run": _sync(cls, "_run", protector), "_arun": _async(cls, "_arun", protector)}
    for guard, names in ((_sync, ("run", "invoke")), (_async, ("arun", "ainvoke"))):
        own = (name for name in names if not getattr(cls, name).__module__.startswith("langchain_core."))
        methods.update({name: guard(cls, name, protector) for name in own})
    return methods


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
