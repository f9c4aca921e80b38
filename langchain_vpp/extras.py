"""Optional packages: the one place that looks for them, and the one error for those that are missing."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_vpp.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterable


def is_installed(*modules: str) -> bool:
    """Say whether all modules can be found. None of them is imported."""
    return all(_can_be_found(module) for module in modules)


def require(*modules: str, extra: str, undone: str = "nothing was done") -> None:
    """Refuse to begin what would fail later because a package is missing. Nothing is imported.

    Args:
        modules: Modules of the packages, such as ``torch``.
        extra: The extra of langchain-vpp that brings them.
        undone: What does not happen now, for the message.

    Raises:
        MissingExtraError: If a module can't be found. The message names all that are missing.
    """
    missing = [module for module in modules if not _can_be_found(module)]
    if missing:
        raise _missing(missing, extra, undone)


def load(module: str, *, extra: str, undone: str = "nothing was done", advice: str = "") -> Any:
    """Import a module of an optional package.

    Args:
        module: The module, such as ``pypdfium2``.
        extra: The extra of langchain-vpp that brings it.
        undone: What does not happen now, for the message.
        advice: What else helps, a sentence.

    Raises:
        MissingExtraError: If the module, or something that it needs, can't be imported.
    """
    missing = module
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = error.name or module
    raise _missing([missing], extra, undone, advice)


def folder(module: str, *, extra: str, undone: str = "nothing was done") -> Path:
    """Return the folder of an optional package, for files that it brings. The package is not imported.

    Args:
        module: The package, such as ``matplotlib``.
        extra: The extra of langchain-vpp that brings it.
        undone: What does not happen now, for the message.

    Raises:
        MissingExtraError: If the package can't be found.
    """
    found = find_spec(module) if _can_be_found(module) else None
    if found is None or found.origin is None:
        raise _missing([module], extra, undone)
    return Path(found.origin).parent


def find(module: str) -> Any:
    """Import a module of an optional package, or return ``None`` where that fails: the caller does without it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


def _can_be_found(module: str) -> bool:
    if module in sys.modules:
        return sys.modules[module] is not None
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it is in is missing
        return False


def _missing(modules: Iterable[str], extra: str, undone: str, advice: str = "") -> MissingExtraError:
    names = ", ".join(module.replace("_", "-") for module in modules)
    command = f"{undone}: {names} must be installed: pip install 'langchain-vpp[{extra}]'."
    return MissingExtraError(" ".join(filter(None, (command, advice))))
