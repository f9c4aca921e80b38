"""Classes that are derived at run time, and objects that are moved into them."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel

_Model = TypeVar("_Model", bound=BaseModel)


def subclass_of(cls: type[_Model], *mixins: type, **attributes: Any) -> type[_Model]:
    """Derive a class with ``mixins`` in front, and with the name of ``cls``, in which LangSmith reads the provider.

    Args:
        cls: The concrete class.
        *mixins: Classes whose methods come first.
        **attributes: Class attributes.
    """
    namespace = {
        "__module__": __name__,
        "__qualname__": f"protected {cls.__qualname__}",
        "__doc__": cls.__doc__,
        "__annotations__": dict.fromkeys(attributes, ClassVar[Any]),
        **attributes,
    }
    metaclass: Any = type(cls)
    derived: type[_Model] = metaclass(cls.__name__, (*mixins, cls), namespace)
    return derived


def move_to_class(instance: _Model, cls: type[_Model]) -> _Model:
    """Copy an object as one of ``cls``, a subclass of its class.

    The copy is shallow, and nothing is validated: clients, private attributes and fields stay as they are.
    """
    clone = instance.model_copy()
    # A cached serialized form names the bare class, and would be revived as one.
    clone.__dict__.pop("_serialized", None)
    object.__setattr__(clone, "__class__", cls)
    return clone
