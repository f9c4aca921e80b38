from __future__ import annotations

import pytest
from PIL import Image


@pytest.fixture
def folder(tmp_path):
    for number in range(1, 6):
        Image.new("RGB", (16, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    return tmp_path
