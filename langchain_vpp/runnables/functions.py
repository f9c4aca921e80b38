"""Functions inside of a protected runnable: they work on originals, and their runs record none.

The run of a function records its input before the function is called, and its output after it has returned. So a
picture outside of a message travels as a handle between the steps of a chain; the function gets the original in its
place, and what it returns is protected or sealed again. Chat models and chains that a function closes over are replaced
by protected ones for the call.
"""

from __future__ import annotations

import dis
import functools
import inspect
import types
from contextlib import nullcontext
from operator import attrgetter, itemgetter, methodcaller
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from langchain_core.runnables import Runnable
from langchain_core.runnables.utils import is_async_callable, is_async_generator

from langchain_vpp.errors import ProtectionError
from langchain_vpp.guard.level import requested_level
from langchain_vpp.messages.failures import error_holds_media
from langchain_vpp.runnables.pieces import Pieces
from langchain_vpp.runnables.sentinel import holds_no_original, vouching
from langchain_vpp.runnables.values import Reading, aprotect_value, protect_value, unseal_value

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractContextManager

    from langchain_vpp.guard.gate import Gate

_MARK: Final = "__vpp_guard__"
# They hand on what they get, and call nothing.
_ACCESSORS: Final = (itemgetter, attrgetter, methodcaller)
_WITHHELD: Final = (
    "A function failed with a picture in its error, so the error was withheld. Nothing was sent by it."
)
_STORES: Final = frozenset({"STORE_GLOBAL", "DELETE_GLOBAL"})
_MODULE_NAMES: Final = ("__builtins__", "__name__", "__package__", "__spec__", "__loader__", "__file__")
_DEEPEST: Final = 4
_REBOUND: Final = (types.FunctionType, types.MethodType, functools.partial)
_INJECTED: Final = frozenset({"config", "run_manager"})


class Stand(NamedTuple):
    """Functions that return what stands for a Runnable.

    Attributes:
        alone: Returns a protected Runnable that can be called by itself.
        inside: Returns a protected part of a composition, of the same class.
        tool: Returns a tool whose output is protected for good, as in the state of a graph.
    """

    alone: Callable[[Any], Any]
    inside: Callable[[Any], Any]
    tool: Callable[[Any], Any]


class Guard:
    """Guards functions.

    Args:
        protector: Protects what they return.
        stand: Protects the Runnables that they refer to, or return.
    """

    def __init__(self, protector: Gate, stand: Stand) -> None:
        self._protector = protector
        self._stand = stand

    def function(self, function: Any) -> Any:
        """Return a function of the same kind (plain, async, generator) around ``function``."""
        if not callable(function) or isinstance(function, (Runnable, *_ACCESSORS)):
            return function
        if getattr(function, _MARK, None) is self._protector:
            return function
        if is_async_generator(function):
            return self._marked(function, self._async_generator(function))
        if is_async_callable(function):
            return self._marked(function, self._coroutine(function))
        if inspect.isgeneratorfunction(function):
            return self._marked(function, self._generator(function))
        return self._marked(function, self._plain(function))

    def reference(self, function: Any) -> Any:
        """Return a function that an object of another class calls by itself, around ``function``.

        The Runnables that it refers to are protected. What it gets and returns is the object's own affair.
        """
        return self._referring(function, lambda _: nullcontext())

    def node(self, function: Any) -> Any:
        """Return a function that a graph or a tool calls, around ``function``; see :meth:`reference`.

        Its run has recorded its arguments. If these hold no original, what it asks models is in no run.
        """

        def watching(arguments: Any) -> AbstractContextManager[None]:
            return (
                vouching(self._protector) if holds_no_original(self._protector, arguments) else nullcontext()
            )

        return self._referring(function, watching)

    def _referring(self, function: Any, watching: Callable[[Any], AbstractContextManager[None]]) -> Any:
        if not isinstance(function, _REBOUND) or hasattr(function, _MARK):
            return function
        if is_async_callable(function):

            async def acall(*args: Any, **kwargs: Any) -> Any:
                with watching((args, kwargs)):
                    return await rebound(function, self._stand)(*args, **kwargs)

            return self._marked(function, acall)

        def call(*args: Any, **kwargs: Any) -> Any:
            with watching((args, kwargs)):
                return rebound(function, self._stand)(*args, **kwargs)

        return self._marked(function, call)

    def transform(self, transform: Any) -> Any:
        """Return a function around one that takes an iterator, as a ``RunnableGenerator`` does."""
        if getattr(transform, _MARK, None) is self._protector:
            return transform

        def guarded(chunks: Iterator[Any], *args: Any, **kwargs: Any) -> Iterator[Any]:
            unsealed = (unseal_value(self._protector, chunk)[0] for chunk in chunks)
            with _Withholding(), vouching(self._protector):
                yield from self._all_left(rebound(transform, self._stand)(unsealed, *args, **kwargs), _MADE)

        return self._marked(transform, guarded)

    def atransform(self, transform: Any) -> Any:
        """Return a function around one that takes an async iterator; see :meth:`transform`."""
        if getattr(transform, _MARK, None) is self._protector:
            return transform

        async def guarded(chunks: AsyncIterator[Any], *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            unsealed = (unseal_value(self._protector, chunk)[0] async for chunk in chunks)
            with _Withholding(), vouching(self._protector):
                made = rebound(transform, self._stand)(unsealed, *args, **kwargs)
                async for chunk in self._aall_left(made, _MADE):
                    yield chunk

        return self._marked(transform, guarded)

    def _marked(self, function: Any, guarded: Any) -> Any:
        # With the function's signature: core reads from it which arguments to inject.
        guarded = functools.wraps(function)(guarded)
        setattr(guarded, _MARK, self._protector)
        return guarded

    def method(self, method: Any) -> Any:
        """Return a method around the one of a class whose runs record what it gets and returns, such as a tool's."""
        guard = self._coroutine if is_async_callable(method) else self._plain
        return self._marked(method, guard(method, is_method=True))

    def _plain(self, function: Any, *, is_method: bool = False) -> Any:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            call, reading = self._call(function, args, kwargs, is_method=is_method)
            with _Withholding(), vouching(self._protector):
                output = call()
            return self._left(output, reading)

        return guarded

    def _coroutine(self, function: Any, *, is_method: bool = False) -> Any:
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            call, reading = self._call(function, args, kwargs, is_method=is_method)
            with _Withholding(), vouching(self._protector):
                output = await call()
            return await self._aleft(output, reading)

        return guarded

    def _call(
        self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, is_method: bool
    ) -> tuple[Callable[[], Any], Reading]:
        """Return the call of a function with originals in its arguments, and the reading of what it returns."""
        if not is_method:
            unsealed, reading = unseal_value(self._protector, args)
            return functools.partial(rebound(function, self._stand), *unsealed, **kwargs), reading
        given = {name: value for name, value in kwargs.items() if name not in _INJECTED}
        (unsealed, named), reading = unseal_value(self._protector, (args[1:], given))
        method = rebound(function, self._stand)
        return functools.partial(method, args[0], *unsealed, **{**kwargs, **named}), reading

    def _generator(self, function: Any) -> Any:
        def guarded(*args: Any, **kwargs: Any) -> Iterator[Any]:
            args, reading = unseal_value(self._protector, args)
            with _Withholding(), vouching(self._protector):
                yield from self._all_left(rebound(function, self._stand)(*args, **kwargs), reading)

        return guarded

    def _async_generator(self, function: Any) -> Any:
        async def guarded(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            args, reading = unseal_value(self._protector, args)
            with _Withholding(), vouching(self._protector):
                made = rebound(function, self._stand)(*args, **kwargs)
                async for output in self._aall_left(made, reading):
                    yield output

        return guarded

    def _all_left(self, outputs: Iterator[Any], reading: Reading) -> Iterator[Any]:
        pieces = Pieces()
        for output in outputs:
            left = self._left(output, reading)
            pieces.add(output, left)
            yield left
        pieces.end()

    async def _aall_left(self, outputs: AsyncIterator[Any], reading: Reading) -> AsyncIterator[Any]:
        pieces = Pieces()
        async for output in outputs:
            left = await self._aleft(output, reading)
            pieces.add(output, left)
            yield left
        pieces.end()

    def _left(self, output: Any, reading: Reading) -> Any:
        if isinstance(output, Runnable):
            return self._stand.inside(output)  # core calls it next
        return protect_value(self._protector, output, level=requested_level(None), reading=reading)

    async def _aleft(self, output: Any, reading: Reading) -> Any:
        if isinstance(output, Runnable):
            return self._stand.inside(output)
        return await aprotect_value(self._protector, output, level=requested_level(None), reading=reading)


_MADE: Final = Reading("hold")


class _Withholding:
    """Replaces an error that holds a picture: runs, handlers and callers show errors with all that they hold."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not (isinstance(error, Exception) and error_holds_media(error)):
            return
        refusal = ProtectionError(_WITHHELD)
        try:
            raise refusal
        finally:
            refusal.__context__ = None


def rebound(function: Any, stand: Stand, depth: int = 0) -> Any:
    """Return a function in which the Runnables that it refers to by name are protected.

    They are looked up now, so a function may be called with Runnables that didn't exist when it was protected. The
    function itself is not changed. Names are those that LangChain finds dependencies by: variables of enclosing
    functions and of the module; and default arguments, bound objects and arguments of ``functools.partial``.
    """
    if isinstance(function, functools.partial):
        args = [_protected_value(value, stand, depth) for value in function.args]
        keywords = {name: _protected_value(value, stand, depth) for name, value in function.keywords.items()}
        return functools.partial(rebound(function.func, stand, depth), *args, **keywords)
    if isinstance(function, types.MethodType):
        return _rebound_method(function, stand)
    return _rebound(function, stand, depth) if isinstance(function, types.FunctionType) else function


def _rebound_method(method: types.MethodType, stand: Stand) -> Any:
    owner = method.__self__
    if not isinstance(owner, Runnable):
        return method
    # An entry point, such as invoke; or a method of a class that is a Runnable.
    protected = stand.alone(owner)
    protected = protected if hasattr(protected, method.__name__) else stand.inside(owner)
    return method if protected is owner else getattr(protected, method.__name__)


def _rebound(function: types.FunctionType, stand: Stand, depth: int) -> Any:
    def changed(names: Any, values: Any) -> dict[Any, Any]:
        pairs = (
            (name, value, _protected_value(value, stand, depth))
            for name, value in zip(names, values, strict=True)
        )
        return {name: new for name, old, new in pairs if new is not old}

    code, namespace = function.__code__, function.__globals__
    cells = [*(function.__closure__ or ())]
    filled = [index for index, cell in enumerate(cells) if _is_filled(cell)]
    in_cells = changed(filled, [cells[index].cell_contents for index in filled])
    names = [name for name in _names(code) if name in namespace] if depth == 0 else []
    in_module = changed(names, [namespace[name] for name in names])
    defaults = function.__defaults__ or ()
    in_defaults = changed(range(len(defaults)), defaults)
    keywords = function.__kwdefaults__ or {}
    in_keywords = changed(keywords, keywords.values())
    if not (in_cells or in_module or in_defaults or in_keywords):
        return function
    if in_module and any(each.opname in _STORES for each in dis.get_instructions(code)):
        in_module = {}  # its own writes would be lost
    clone = types.FunctionType(
        code,
        _Namespace(namespace, in_module) if in_module else namespace,
        function.__name__,
        tuple(in_defaults.get(index, value) for index, value in enumerate(defaults)) or None,
        tuple(
            types.CellType(in_cells[index]) if index in in_cells else cell for index, cell in enumerate(cells)
        ),
    )
    clone.__kwdefaults__ = {**keywords, **in_keywords} or None
    clone.__dict__.update(function.__dict__)
    return clone


class _Namespace(dict[str, Any]):
    """Variables of a module, some of them replaced. All others are read from the module when they are used."""

    def __init__(self, module: dict[str, Any], replaced: dict[str, Any]) -> None:
        super().__init__({name: module[name] for name in _MODULE_NAMES if name in module}, **replaced)
        self._module = module

    def __missing__(self, name: str) -> Any:
        return self._module[name]


def _protected_value(value: Any, stand: Stand, depth: int) -> Any:
    if isinstance(value, Runnable):
        return stand.alone(value)
    if isinstance(value, types.MethodType) and isinstance(value.__self__, Runnable):
        return rebound(value, stand, depth)
    # The function inside of a decorated one, and local functions.
    if isinstance(value, types.FunctionType | functools.partial) and 0 <= depth < _DEEPEST:
        return value if hasattr(value, _MARK) else rebound(value, stand, depth + 1)
    if type(value) in (list, tuple) and any(isinstance(item, Runnable) for item in value):
        return type(value)(_protected_value(item, stand, depth) for item in value)
    if type(value) is dict and any(isinstance(item, Runnable) for item in value.values()):
        return {name: _protected_value(item, stand, depth) for name, item in value.items()}
    return value


def _names(code: types.CodeType) -> set[str]:
    """Return the names that a function and those inside of it may look up in their module."""
    inner = (const for const in code.co_consts if isinstance(const, types.CodeType))
    return {*code.co_names}.union(*(_names(each) for each in inner))


def _is_filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018  the variable may not be assigned yet
    except ValueError:
        return False
    return True
