"""The public face: loading, composing, and that it can't be changed."""

from __future__ import annotations

import copy
import pickle
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from langchain_core.runnables import RunnablePassthrough

from langchain_vpp import ImageProtector, ProtectedRunnable, protect
from langchain_vpp.artifact import save_presets
from langchain_vpp.engines import Pixelate
from tests.unit.langchain_vpp.runnables.models import MESSAGE, Echo
from tests.untrained import save_untrained

if TYPE_CHECKING:
    from pathlib import Path


def test_a_protector_cannot_be_changed_or_pickled() -> None:
    protector = ImageProtector(Pixelate(), level=0.7)
    with pytest.raises(AttributeError):
        protector._level = 0.0  # type: ignore[misc]
    with pytest.raises(AttributeError):
        protector.extra = 1  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        del protector._level
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(protector)
    assert repr(protector) == "ImageProtector(engine='pixelate', level=0.7, min_level=0.7)"


def test_a_copied_configuration_holds_the_same_protector() -> None:
    protector = ImageProtector(Pixelate())
    configuration = {"steps": [protector]}
    assert copy.copy(protector) is protector
    assert copy.deepcopy(configuration)["steps"][0] is protector
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(configuration)


@pytest.mark.parametrize("level", [np.float16(0.5), np.float32(0.5), np.float64(0.5), Fraction(1, 2), 0.5])
def test_a_level_may_be_any_real_number(level: Any) -> None:
    protector = ImageProtector(Pixelate(), level=level, min_level=level)
    assert repr(protector) == "ImageProtector(engine='pixelate', level=0.5, min_level=0.5)"
    config: Any = {"configurable": {"vpp_level": np.float32(0.75)}}
    response = (protector | Echo()).invoke([MESSAGE], config)
    assert response.response_metadata["vpp"]["images"][0]["level"] == 0.75


def test_from_pretrained_loads_the_engine_of_an_artifact(tmp_path: Path) -> None:
    save_untrained(tmp_path)
    protector = ImageProtector.from_pretrained(tmp_path, level=0.6, min_level=0.4)
    assert repr(protector) == "ImageProtector(engine='torch', level=0.6, min_level=0.4)"


def test_requests_name_the_presets_of_an_artifact(tmp_path: Path) -> None:
    save_untrained(tmp_path)
    save_presets(tmp_path, {"balanced": 0.6, "high": 0.9})
    model = protect(Echo(seen=[]), ImageProtector.from_pretrained(tmp_path))
    for asked, level in (("high", 0.9), ("balanced", 0.6), (0.1, 0.6)):
        answer = model.invoke([MESSAGE], {"configurable": {"vpp_level": asked}})
        assert answer.response_metadata["vpp"]["images"][0]["level"] == level


def test_or_protects_models_runnables_functions_and_mappings() -> None:
    protector = ImageProtector(Pixelate())
    assert isinstance(protector | Echo(), Echo)
    assert isinstance(protector | (lambda value: value), ProtectedRunnable)
    assert isinstance(protector | {"same": RunnablePassthrough()}, ProtectedRunnable)
    assert isinstance(protector | Echo() | (lambda message: message.text), ProtectedRunnable)
    assert (protector | Echo() | (lambda message: message.text)).invoke([MESSAGE]) == "ok"


def test_a_protector_cannot_stand_inside_a_chain() -> None:
    protector = ImageProtector(Pixelate())
    with pytest.raises(TypeError):
        RunnablePassthrough() | protector  # type: ignore[operator]
    with pytest.raises(TypeError, match="inside a chain"):
        7 | protector
