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
        ImageProtector(Pixelate(), on_upstream_trace="warn").admit(human(PICTURE), callbacks=inside)
    for protector in (ImageProtector(Pixelate()), ImageProtector(Pixelate(), on_upstream_trace="raise")):
        with pytest.raises(ProtectionError, match="enclosing run"):
            protector.admit(human(PICTURE), callbacks=inside)
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


HOLOGRAM = [HumanMessage([{"type": "hologram", "data": "x"}])]


def test_what_is_dropped_or_refused_was_recorded_upstream_too() -> None:
    inside = _inside_a_run(Recording())
    dropping: dict[str, Any] = {"on_unsupported": "drop"}
    with pytest.raises(ProtectionError, match="enclosing run"):
        ImageProtector(Pixelate(), **dropping).admit(HOLOGRAM, callbacks=inside)
    with pytest.warns(TraceLeakWarning):
        ImageProtector(Pixelate(), on_upstream_trace="warn", **dropping).admit(HOLOGRAM, callbacks=inside)
    with pytest.raises(ProtectionError, match=r"not known to be free of pixels.*enclosing run") as caught:
        ImageProtector(Pixelate()).admit(HOLOGRAM, callbacks=inside)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    with (
        pytest.warns(TraceLeakWarning),
        pytest.raises(ProtectionError, match="not known to be free of pixels") as caught,
    ):
        ImageProtector(Pixelate(), on_upstream_trace="warn").admit(HOLOGRAM, callbacks=inside)
    assert "enclosing" not in str(caught.value)
    for outside in (None, [Recording()]):
        with pytest.raises(ProtectionError) as caught:
            ImageProtector(Pixelate()).admit(HOLOGRAM, callbacks=outside)
        assert "enclosing" not in str(caught.value)


async def test_the_async_twin_tells_of_upstream_runs_too() -> None:
    with pytest.raises(ProtectionError, match=r"not known.*enclosing run") as caught:
        await ImageProtector(Pixelate()).aadmit(HOLOGRAM, callbacks=_inside_a_run(Recording()))
    assert caught.value.__context__ is None
