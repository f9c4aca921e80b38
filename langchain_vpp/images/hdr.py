"""Pictures of high dynamic range as plain sRGB: shown as they look on an ordinary screen.

Without it a bright scene in PQ or HLG comes out pale or dark, and an engine that looks for faces or text may miss them.
Diffuse white is 203 cd/m² as in ITU-R BT.2408; highlights above it are compressed.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, Literal

import numpy as np

Transfer = Literal["pq", "hlg"]
"""Transfer function of a picture: of SMPTE ST 2084, or hybrid log-gamma of ITU-R BT.2100."""

_WHITE: Final = 203.0
"""Luminance of diffuse white, cd/m²."""
_HLG_PEAK: Final = 1_000.0
"""Luminance of the brightest signal of HLG on the screen that its standard assumes, cd/m²."""
_KNEE: Final = 0.75
"""Share of diffuse white up to which luminance is kept as it is."""
_LUMINANCE: Final = np.array([0.2627, 0.6780, 0.0593], dtype=np.float32)
"""Shares of red, green and blue of ITU-R BT.2020 in luminance."""
_TO_SRGB: Final = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], dtype=np.float32
)
"""Matrix from linear BT.2020 to linear sRGB primaries (ITU-R BT.2087)."""
_STEPS: Final = 4_096


def to_standard_range(pixels: Any, transfer: Transfer) -> Any:
    """Convert RGB of BT.2020 primaries to sRGB.

    Args:
        pixels: ``uint16``, the full range, shape ``[H, W, 3]``.
        transfer: Their transfer function.

    Returns:
        ``uint8``, shape ``[H, W, 3]``.
    """
    light = _linear(transfer)[pixels >> 4]
    if transfer == "hlg":  # the screen's gamma applies to luminance, so that hues are kept
        light = light * (np.maximum(light @ _LUMINANCE, 1e-6) ** 0.2)[..., None] * (_HLG_PEAK / _WHITE)
    shown = np.maximum(light @ _TO_SRGB.T, 0.0)
    shown = np.where(shown > _KNEE, 1 - (1 - _KNEE) * np.exp((_KNEE - shown) / (1 - _KNEE)), shown)
    return _encoded()[np.rint(shown * (_STEPS - 1)).astype(np.int32)]


@cache
def _linear(transfer: Transfer) -> Any:
    """Return the light of each signal: of PQ as a multiple of diffuse white, of HLG that of the scene in [0, 1]."""
    signal = np.linspace(0, 1, _STEPS)
    if transfer == "pq":
        power = signal ** (1 / 78.84375)
        light = np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)
        return (10_000 * light ** (1 / 0.1593017578125) / _WHITE).astype(np.float32)
    high = (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return np.where(signal <= 0.5, signal**2 / 3, high).astype(np.float32)


@cache
def _encoded() -> Any:
    """Return the sRGB value of each linear one."""
    light = np.linspace(0, 1, _STEPS)
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * curve).astype(np.uint8)
