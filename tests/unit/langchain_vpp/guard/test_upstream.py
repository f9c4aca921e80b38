"""Enclosing runs that saw an original."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler, CallbackManager
from langchain_core.messages import HumanMessage
from langchain_core.stores import InMemoryByteStore

from langchain_vpp import ImageProtector, ProtectionError, TraceLeakWarning
from langchain_vpp.engines import Pixelate
from tests.unit.langchain_vpp.guard.samples import PICTURE, Recording, human


def _inside_a_run(handler: BaseCallbackHandler) -> Any:
    return CallbackManager(handlers=[handler], parent_run_id=uuid.uuid4())


def test_the_guard_warns_raises_or_ignores() -> None:
    inside = _inside_a_run(Recording())
    with pytest.warns(TraceLeakWarning):
        ImageProtector(Pixelate()).admit(human(PICTURE), callbacks=inside)
    with pytest.raises(ProtectionError, match="enclosing run"):
        ImageProtector(Pixelate(), on_upstream_trace="raise").admit(human(PICTURE), callbacks=inside)
    ImageProtector(Pixelate(), on_upstream_trace="ignore").admit(human(PICTURE), callbacks=inside)


def test_the_guard_is_silent_where_nothing_was_exposed() -> None:
    protector = ImageProtector(Pixelate(), on_upstream_trace="raise", store=InMemoryByteStore())
    inside = _inside_a_run(Recording())
    protector.admit("text only", callbacks=inside)
    protector.admit([HumanMessage([protector.seal(PICTURE)])], callbacks=inside)
    protector.admit(protector.protect_messages(human(PICTURE)), callbacks=inside)
    protector.admit(human(PICTURE), callbacks=[Recording()])
    protector.admit(human(PICTURE), callbacks=CallbackManager(handlers=[Recording()]))
    protector.admit(human(PICTURE), callbacks=_inside_a_run(BaseCallbackHandler()))
