"""Module paths of version 0.1 that have moved: they still import, with a warning that names the new path."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType


class MovedModules(MetaPathFinder, Loader):
    """Import hook for old module paths.

    It stands last among the import hooks, so it is asked only for modules that do not exist. An old path then gives a
    module that looks every name up in the new ones.

    Args:
        homes: Old module path -> the module paths that hold its names today.
    """

    def __init__(self, homes: Mapping[str, Sequence[str]]) -> None:
        self._homes = homes

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See :meth:`importlib.abc.MetaPathFinder.find_spec`."""
        del path, target
        return ModuleSpec(fullname, self) if fullname in self._homes else None

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave the creation of the module to the import system."""

    def exec_module(self, module: ModuleType) -> None:
        """Warn, and let the module answer for its new homes."""
        old = module.__name__
        homes = self._homes[old]
        warnings.warn(
            f"{old} is now {' and '.join(homes)}; the old path goes with version 0.3",
            FutureWarning,
            stacklevel=2,
        )

        def look_up(name: str) -> Any:
            for home in homes:
                if hasattr(found := import_module(home), name):
                    return getattr(found, name)
            raise AttributeError(
                f"{old} is now {' and '.join(homes)}, and {name!r} is not there under this name. "
                "The changelog of version 0.2 lists what was renamed."
            )

        module.__getattr__ = look_up  # type: ignore[method-assign]


def redirect(homes: Mapping[str, Sequence[str]]) -> None:
    """Let old module paths of a package import.

    Args:
        homes: Old module path -> the module paths that hold its names today.
    """
    sys.meta_path.append(MovedModules(homes))
