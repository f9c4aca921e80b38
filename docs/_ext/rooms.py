"""Write a page of the reference for each room of the two packages, so that the reference follows the code."""  # noqa: INP001

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from sphinx.addnodes import pending_xref
from sphinx.transforms.post_transforms import ReferencesResolver, SphinxPostTransform
from sphinx.util.nodes import make_refnode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from docutils import nodes
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

PACKAGES = ("langchain_vpp", "trainer")
COMMANDS = tuple(f"{package}.cli" for package in PACKAGES)
"""Rooms without a page: the guide to the command line describes their commands."""
_MEMBERS = "   :members:\n   :undoc-members:\n   :exclude-members: {}\n"
_NO_FIELD = "model_config"
_VERSION = ".. py:data:: __version__\n   :module: {}\n\n   Version of the package that is installed.\n\n"
_BEFORE_NAPOLEON = 400
_public_names: dict[str, str] = {}
"""Where an object is defined -> the name under which a package offers it."""


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("builder-inited", _write_pages)
    app.connect("autodoc-process-signature", _hide_signature_of_models)
    app.connect("autodoc-process-docstring", _complete_field, priority=_BEFORE_NAPOLEON)
    app.connect("missing-reference", _find_public_entry)
    app.add_post_transform(_NamesWithoutEntry)
    return {"parallel_read_safe": True}


def _write_pages(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "reference" / "rooms"
    folder.mkdir(exist_ok=True)
    rooms: dict[str, list[ModuleType]] = {}
    for module in _modules():
        room = ".".join(module.__name__.split(".")[:2])
        if room not in COMMANDS:
            rooms.setdefault(room, []).append(module)
    for page in folder.glob("*.rst"):
        if page.stem not in rooms:
            page.unlink()
    for room, modules in rooms.items():
        page = folder / f"{room}.rst"
        text = _heading(room, "=") + "\n".join(_section(module, room) for module in modules)
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def _modules() -> Iterator[ModuleType]:
    for name in PACKAGES:
        package = import_module(name)
        yield package
        for found in walk_packages(package.__path__, f"{name}."):
            if not any(part.startswith("_") for part in found.name.split(".")):
                yield import_module(found.name)


def _section(module: ModuleType, room: str) -> str:
    """Document the names that a package offers, or else all names that a module defines."""
    name = module.__name__
    heading = "" if name == room else _heading(name, "-")
    offered = _offered(module)
    if offered:
        entries = "".join(_entry(module, each) for each in offered)
        return f"{heading}.. automodule:: {name}\n\n{entries}"
    elsewhere = [each for each in vars(module) if _offered_above(module, each)]
    members = _MEMBERS.format(", ".join([_NO_FIELD, *elsewhere]))
    return f"{heading}.. automodule:: {name}\n{members}   :ignore-module-all:\n"


def _offered(module: ModuleType) -> tuple[str, ...]:
    return tuple(getattr(module, "__all__", ())) if hasattr(module, "__path__") else ()


def _offered_above(module: ModuleType, name: str) -> str | None:
    """Return the path under which a package above a module offers a class or function of it: its entry is there."""
    value = getattr(module, name)
    above = module.__name__
    found = None
    while "." in above and callable(value):
        above = above.rpartition(".")[0]
        package = import_module(above)
        if _offers(package, name) and getattr(package, name) is value:
            found = f"{above}.{name}"
    return found


def _offers(package: ModuleType, name: str) -> bool:
    """Whether a package has an entry for a name: a function that is called like its module has it in that module."""
    return name in _offered(package) and f"{package.__name__}.{name}" not in sys.modules


def _entry(package: ModuleType, name: str) -> str:
    value = getattr(package, name)
    path = f"{package.__name__}.{name}"
    if not callable(value):  # a constant has its entry, with its docstring, where it is defined
        return _VERSION.format(package.__name__) if name == "__version__" else ""
    defined = f"{value.__module__}.{value.__qualname__}"
    elsewhere = _offered_above(package, name)
    if elsewhere or not _offers(package, name):
        return f"Also here: :py:obj:`{elsewhere or defined}`.\n\n"
    _public_names[defined] = path
    if inspect.isclass(value):
        kind = "exception" if issubclass(value, BaseException) else "class"
        return f".. auto{kind}:: {path}\n{_MEMBERS.format(_NO_FIELD)}\n"
    return f".. autofunction:: {path}\n\n"


def _heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n\n"


def _hide_signature_of_models(
    _app: Sphinx, what: str, _name: str, value: Any, *_: object
) -> tuple[str, None] | None:
    """Leave out the constructor's arguments of a pydantic model: they are its fields, which follow."""
    is_model = what == "class" and inspect.isclass(value) and issubclass(value, BaseModel)
    return ("", None) if is_model else None


def _complete_field(
    _app: Sphinx, what: str, name: str, _value: object, _options: object, lines: list[str]
) -> None:
    """Say the default of a pydantic model's field, and nothing of a named tuple's that has no docstring."""
    if what != "attribute":
        return
    if lines and lines[0].startswith("Alias for field number"):
        lines.clear()
    lines.insert(0, "")  # otherwise napoleon takes what stands before a colon for the type
    owner, _, field = name.rpartition(".")
    module, _, cls = owner.rpartition(".")
    known = getattr(getattr(import_module(module), cls, None), "model_fields", {}).get(field)
    if known is not None and not known.is_required():
        lines += ["", f"Default: ``{known.get_default(call_default_factory=True)!r}``"]


class _NamesWithoutEntry(SphinxPostTransform):
    """Keep Sphinx from comparing a name with every entry where no entry is called so, as with ``str``."""

    default_priority = ReferencesResolver.default_priority - 1

    def run(self, **_: Any) -> None:
        """Have such names looked up exactly."""
        known = {entry.rpartition(".")[2] for entry in self.env.domains.python_domain.objects}
        for reference in self.document.findall(pending_xref):
            name = reference["reftarget"].rpartition(".")[2].removesuffix("()")
            if reference.get("refdomain") == "py" and name not in known:
                reference.attributes.pop("refspecific", None)


def _find_public_entry(
    app: Sphinx, env: BuildEnvironment, reference: pending_xref, text: nodes.TextElement
) -> nodes.reference | None:
    """Resolve a reference to where an object, or the class of a method, is defined."""
    target = reference.get("reftarget", "")
    owner, _, member = target.rpartition(".")
    public = _public_names.get(target) or f"{_public_names.get(owner)}.{member}"
    entry = env.domains.python_domain.objects.get(public)
    if reference.get("refdomain") != "py" or entry is None:
        return None
    return make_refnode(app.builder, reference["refdoc"], entry.docname, entry.node_id, text)
