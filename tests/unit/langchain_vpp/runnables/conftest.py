"""The protector that most tests of this folder use."""

from __future__ import annotations

import pytest

from langchain_vpp import ImageProtector
from langchain_vpp.engines import Pixelate


@pytest.fixture
def protector() -> ImageProtector:
    return ImageProtector(Pixelate(), level=0.7, on_upstream_trace="raise")
