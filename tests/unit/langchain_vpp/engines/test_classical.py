"""Classical engines: stronger with the level, nothing at level 0."""

from __future__ import annotations

import numpy as np
import pytest

from langchain_vpp.engines import CLASSICAL_ENGINES, Pixelate
from tests.unit.langchain_vpp.engines.made import picture


@pytest.mark.parametrize("name", CLASSICAL_ENGINES)
def test_classical_engines_change_nothing_at_level_0_and_more_at_higher_levels(name):
    engine, image = CLASSICAL_ENGINES[name](), picture()
    assert engine.protect(image, 0.0).tobytes() == image.tobytes()
    # Noise averages out: what is left of its variance falls with the level.
    left = [
        np.asarray(engine.protect(image, level), dtype=float).std() for level in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    assert left == sorted(left, reverse=True)
    assert left[-1] < left[0] / 3


def test_pixelate_leaves_four_cells_along_the_longest_side_at_level_1():
    result = np.asarray(Pixelate().protect(picture(64, 32), 1.0))
    assert result.shape == (32, 64, 3)
    assert len({tuple(pixel) for pixel in result[0]}) == 4
    assert len({tuple(pixel) for pixel in result[:, 0]}) == 2
