"""What providers make of a picture's size: what they keep of it, and what they charge for it.

A picture that is larger than its provider keeps is scaled down there: everything above was uploaded for nothing.
The rules are those of the pages named below, read in November 2026 there or in copies. They change without notice, and
what is billed is what the provider says. Models behind one API differ: each rule names the ones that it is for.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_Size = tuple[int, int]


class Rule(NamedTuple):
    """What one family of models does to pictures."""

    name: str
    """Provider and models."""
    kept: Callable[[int, int], _Size]
    """From the width and height that are sent to those that the model sees at most."""
    tokens: Callable[[int, int], int]
    """From the width and height that are sent to the input tokens that are charged."""
    source: str
    """Where the provider says so."""


def fit_size(width: int, height: int) -> _Size:
    """The largest size that no provider in :data:`RULES` would scale down.

    It never exceeds the picture, and keeps its aspect ratio to within a pixel.

    Example:
        >>> fit_size(4000, 3000)
        (1024, 768)
        >>> fit_size(640, 480)
        (640, 480)
    """
    return min((rule.kept(width, height) for rule in RULES), key=lambda size: size[0] * size[1])


def within(width: int, height: int, box: _Size) -> _Size:
    """The largest size of the same aspect ratio that fits in a box; a smaller picture stays as it is.

    Example:
        >>> within(4000, 3000, (800, 800))
        (800, 600)
    """
    return _scaled(width, height, min(box[0] / width, box[1] / height))


def _scaled(width: int, height: int, factor: float) -> _Size:
    """Scale down, never up; no side falls below one pixel or, by rounding, above what the factor allows."""
    if factor >= 1:
        return width, height
    # A side that is exact but for the last bit of the float must not lose a pixel.
    return max(1, int(width * factor + 1e-6)), max(1, int(height * factor + 1e-6))


def _patches(width: int, height: int, side: int) -> int:
    return math.ceil(width / side) * math.ceil(height / side)


def _within_patches(width: int, height: int, side: int, most: int) -> _Size:
    """Scale down until no more than ``most`` patches are needed."""
    size = (width, height)
    factor = math.sqrt(most * side**2 / (width * height))
    while _patches(*size, side) > most:
        size = _scaled(width, height, min(factor, 1.0))
        factor *= 0.995
    return size


def _openai_tiles(width: int, height: int) -> _Size:
    width, height = within(width, height, (2048, 2048))
    return _scaled(width, height, 768 / min(width, height))


def _openai_tile_tokens(width: int, height: int) -> int:
    return 85 + 170 * _patches(*_openai_tiles(width, height), 512)


def _openai_patches(width: int, height: int) -> _Size:
    return _within_patches(width, height, 32, 1536)


def _anthropic(width: int, height: int, side: int, most: int) -> _Size:
    return _within_patches(*within(width, height, (side, side)), 28, most)


def _gemini_tile_tokens(width: int, height: int) -> int:
    if max(width, height) <= 384:
        return 258
    return 258 * _patches(width, height, max(1, int(min(width, height) / 1.5)))


def _mistral(width: int, height: int) -> _Size:
    return within(width, height, (1540, 1540))


def _mistral_tokens(width: int, height: int) -> int:
    # A token per patch, and one that ends each row.
    width, height = _mistral(width, height)
    return _patches(width, height, 28) + math.ceil(height / 28)


_OPENAI: Final = "https://platform.openai.com/docs/guides/images-vision#calculating-costs"
_ANTHROPIC: Final = "https://platform.claude.com/docs/en/build-with-claude/vision"
_MISTRAL: Final = "https://mistralai.github.io/mistral-common/usage/images"

RULES: Final = (
    # Within 2048 x 2048, then the short side to 768; 170 tokens per tile of 512 pixels, and 85.
    Rule("openai: gpt-4o, gpt-4.1 (tiles)", _openai_tiles, _openai_tile_tokens, _OPENAI),
    # Patches of 32 pixels, 1,536 at most; times a factor that depends on the model (1.62 for gpt-4.1-mini).
    Rule(
        "openai: gpt-4.1-mini, gpt-5-mini, o4-mini (patches)",
        _openai_patches,
        lambda width, height: _patches(*_openai_patches(width, height), 32),
        _OPENAI,
    ),
    # Patches of 28 pixels, 1,568 at most, long side 1,568; newer large models 4,784 and 2,576.
    Rule(
        "anthropic: Sonnet, Haiku",
        lambda width, height: _anthropic(width, height, 1568, 1568),
        lambda width, height: _patches(*_anthropic(width, height, 1568, 1568), 28),
        _ANTHROPIC,
    ),
    Rule(
        "anthropic: Opus 4.7 and later",
        lambda width, height: _anthropic(width, height, 2576, 4784),
        lambda width, height: _patches(*_anthropic(width, height, 2576, 4784), 28),
        _ANTHROPIC,
    ),
    # 258 tokens up to 384 x 384; larger ones are cut into tiles of 2/3 of the short side, of 258 tokens each, whatever
    # the size. Tiles are scaled to 768 x 768, so a short side above 1,152 is thrown away.
    Rule(
        "google: Gemini 2",
        lambda width, height: _scaled(width, height, 1152 / min(width, height)),
        _gemini_tile_tokens,
        "https://ai.google.dev/gemini-api/docs/image-understanding",
    ),
    # Patches of 14 pixels, four to a token; long side 1,540.
    Rule("mistral: Small 3, Medium 3", _mistral, _mistral_tokens, _MISTRAL),
)
"""The main providers' rules."""
