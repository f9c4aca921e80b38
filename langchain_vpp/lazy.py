"""Names that packages load on first use, and module paths of version 0.1 that have moved."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType


def lazy_names(
    package: str, homes: Mapping[str, str], check: Callable[[], None] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make the functions ``__getattr__`` and ``__dir__`` of a package whose names load on first use.

    Args:
        package: The package, ``__name__`` in its own module.
        homes: Public name -> the module that defines it.
        check: Called before a module is imported, to refuse what can't work.

    Example:
        >>> look_up, names = lazy_names("shapes", {"Fraction": "fractions"})
        >>> look_up("Fraction")(1, 2)
        Fraction(1, 2)
        >>> names()
        ['Fraction']
    """

    def look_up(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if check is not None:
            check()
        value = getattr(import_module(homes[name]), name)
        if package in sys.modules:
            setattr(sys.modules[package], name, value)  # the next look-up needs no function
        return value

    return look_up, lambda: sorted(homes)


class _MovedModules(MetaPathFinder, Loader):
    """Import hook for old module paths.

    It stands last among the import hooks, so it is asked only for modules that don't exist. An old path then gives a
    module that looks every name up in the new ones.
    """

    def __init__(self, homes: Mapping[str, Sequence[str]], renamed: Mapping[str, str]) -> None:
        self._homes, self._renamed = homes, renamed

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002  the import system's
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if fullname not in self._homes:
            return None
        return ModuleSpec(
            fullname, self, is_package=any(home.startswith(f"{fullname}.") for home in self._homes)
        )

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave the creation of the module to the import system."""

    def exec_module(self, module: ModuleType) -> None:
        old = module.__name__
        homes = self._homes[old]
        warnings.warn(
            f"{old} is now {' and '.join(homes)}; the old path goes with version 0.3",
            FutureWarning,
            stacklevel=2,
        )

        def look_up(name: str) -> Any:
            if name.startswith(
                "__"
            ):  # inspect asks every module for some, also while others are being imported
                raise AttributeError(f"module {old!r} has no attribute {name!r}")
            today = self._renamed.get(f"{old}.{name}", name)
            for home in homes:
                found = import_module(home)
                if hasattr(found, today):
                    return getattr(found, today)
            raise AttributeError(f"{old} is now {' and '.join(homes)}, and has no {name!r} there")

        vars(module)["__getattr__"] = look_up


def redirect(homes: Mapping[str, Sequence[str]], renamed: Mapping[str, str] | None = None) -> None:
    """Let the old module paths of a package import, with a warning that names the new ones.

    Args:
        homes: Old module path -> the module paths that hold its names today.
        renamed: Old path of a name, with its module -> what the name is today.
    """
    sys.meta_path.append(_MovedModules(homes, renamed or {}))
