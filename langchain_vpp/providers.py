"""One table of known chat models: the size that they keep of a picture, its image tokens, and list prices.

Each :class:`Family` cites the page of its rule and the page of its prices, and when both were read, there or in copies.
Providers change them without notice, and what is billed is what the provider says. Where pages contradict each other or
leave a question open, the table takes the reading that costs more, and says so in :attr:`Family.doubt`.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_Size: TypeAlias = tuple[int, int]
_Rule: TypeAlias = "tuple[Callable[[int, int], _Size], Callable[[int, int], int]]"
"""The fields ``kept`` and ``tokens`` of a family."""

AS_OF: Final = "2026-11"
"""Year and month in which rules and prices were read. Prices come from the table of LiteLLM 1.110.2."""


class Family(NamedTuple):
    """Chat models of one provider that treat pictures alike.

    Attributes:
        name: Provider and models.
        models: Model name -> list price of input and output, US dollars per million tokens.
        kept: From the width and height that are sent to those that the model sees at most, in pixels.
        tokens: From the width and height that are sent to the image tokens that are charged.
        source: Address of the provider's page about pictures.
        prices: Address of the provider's page about prices.
        doubt: What the pages leave open, and which reading is taken; empty if nothing.
    """

    name: str
    models: Mapping[str, tuple[float, float]]
    kept: Callable[[int, int], _Size]
    tokens: Callable[[int, int], int]
    source: str
    prices: str
    doubt: str = ""


class Model(NamedTuple):
    """A chat model of :data:`FAMILIES`.

    Attributes:
        name: Name in the table, without provider or date.
        family: The rules for pictures.
        input: US dollars per million input tokens.
        output: US dollars per million output tokens.
    """

    name: str
    family: Family
    input: float
    output: float


def find_model(name: str) -> Model | None:
    """Find a chat model; a dated version counts as its model.

    Args:
        name: The model's name, alone or as ``provider:name``.

    Returns:
        The model, or ``None`` if the table lacks it.

    Example:
        >>> find_model("openai:gpt-4o-mini-2024-07-18").input
        0.15
        >>> find_model("ollama:llava") is None
        True
    """
    for candidate in (name, name.partition(":")[2]):
        known = [
            Model(model, family, *price)
            for family in FAMILIES
            for model, price in family.models.items()
            if candidate == model or _is_version(candidate, model)
        ]
        if known:
            return max(known, key=lambda model: len(model.name))
    return None


def fit_size(width: int, height: int) -> _Size:
    """Return the largest size that no family in :data:`FAMILIES` would scale down.

    It never exceeds the picture, and keeps its aspect ratio to within a pixel.

    Example:
        >>> fit_size(4000, 3000)
        (1024, 768)
        >>> fit_size(640, 480)
        (640, 480)
    """
    return min((family.kept(width, height) for family in FAMILIES), key=lambda size: size[0] * size[1])


def within(width: int, height: int, box: _Size) -> _Size:
    """Return the largest size of the same aspect ratio that fits in a box; a smaller picture stays as it is.

    Example:
        >>> within(4000, 3000, (800, 800))
        (800, 600)
    """
    return _scaled(width, height, min(box[0] / width, box[1] / height))


_DATED: Final = re.compile(r"-(latest|preview|\d[\d-]*)")


def _is_version(name: str, model: str) -> bool:
    return name.startswith(model) and _DATED.fullmatch(name.removeprefix(model)) is not None


def _scaled(width: int, height: int, factor: float) -> _Size:
    """Scale down, never up; no side falls below one pixel or, by rounding, above what the factor allows."""
    if factor >= 1:
        return width, height
    # A side that is exact but for the last bit of the float must not lose a pixel.
    return max(1, int(width * factor + 1e-6)), max(1, int(height * factor + 1e-6))


def _patches(width: int, height: int, side: int) -> int:
    return math.ceil(width / side) * math.ceil(height / side)


def _openai_tiles(base: int, tile: int) -> _Rule:
    """Scale to 2,048 x 2,048, then the short side to 768; charge a base, and each tile of 512 pixels."""

    def kept(width: int, height: int) -> _Size:
        width, height = within(width, height, (2048, 2048))
        return _scaled(width, height, 768 / min(width, height))

    return kept, lambda width, height: base + tile * _patches(*kept(width, height), 512)


def _openai_patches(percent: int, *, most: int, longest: int) -> _Rule:
    """Charge ``percent`` hundredths of a token for each patch of 32 pixels.

    Args:
        percent: The model's multiplier, times 100.
        most: Patches above which a picture is scaled down.
        longest: Longest side, in pixels, above which a picture is scaled down.
    """

    def kept(width: int, height: int) -> _Size:
        factor = min(1.0, longest / max(width, height))
        if _patches(width, height, 32) > most:
            shrink = math.sqrt(most * 32**2 / (width * height))
            # The provider's formula: whole patches along the side that loses more.
            columns, rows = width * shrink / 32, height * shrink / 32
            factor = min(factor, shrink * min(max(1, int(columns)) / columns, max(1, int(rows)) / rows, 1.0))
        return _scaled(width, height, factor)

    return kept, lambda width, height: -(-min(most, _patches(*kept(width, height), 32)) * percent // 100)


def _anthropic(*, most: int, longest: int) -> _Rule:
    """Charge a token for each patch of 28 pixels, after scaling down to the largest size within both bounds."""

    def kept(width: int, height: int) -> _Size:
        long, short = max(width, height), min(width, height)

        def size(side: int) -> _Size:
            other = max(1, round(side * short / long))
            return (side, other) if width >= height else (other, side)

        low, high = 1, min(long, longest)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if _patches(*size(middle), 28) <= most else (low, middle - 1)
        return size(low)

    return kept, lambda width, height: _patches(*kept(width, height), 28)


def _gemini_tiles() -> _Rule:
    """Charge 258 tokens up to 384 x 384 pixels, else for each tile of 2/3 of the short side, at most 768 pixels."""

    def tokens(width: int, height: int) -> int:
        if max(width, height) <= 384:
            return 258
        return 258 * _patches(width, height, max(1, min(768, int(min(width, height) / 1.5))))

    return lambda width, height: within(width, height, (3072, 3072)), tokens


def _gemini_budget(tokens: int) -> _Rule:
    """Charge the same for every picture."""
    return lambda width, height: (width, height), lambda *_: tokens


def _mistral(side: int) -> _Rule:
    """Charge a token for each patch of 28 pixels and one that ends each row, after scaling the long side down."""

    def kept(width: int, height: int) -> _Size:
        return within(width, height, (side, side))

    def tokens(width: int, height: int) -> int:
        width, height = kept(width, height)
        return _patches(width, height, 28) + math.ceil(height / 28)

    return kept, tokens


_OPENAI: Final = (
    "https://developers.openai.com/api/docs/guides/images-vision",
    "https://developers.openai.com/api/docs/pricing",
)
_ANTHROPIC: Final = (
    "https://platform.claude.com/docs/en/build-with-claude/vision",
    "https://platform.claude.com/docs/en/about-claude/pricing",
)
_GOOGLE_PRICES: Final = "https://ai.google.dev/gemini-api/docs/pricing"

FAMILIES: Final = (
    Family(
        "openai: gpt-4o, gpt-4.1 (tiles)",
        {"gpt-4o": (2.50, 10.00), "gpt-4.1": (2.00, 8.00)},
        *_openai_tiles(85, 170),
        *_OPENAI,
    ),
    Family(
        "openai: gpt-4o-mini (tiles)", {"gpt-4o-mini": (0.15, 0.60)}, *_openai_tiles(2833, 5667), *_OPENAI
    ),
    Family("openai: gpt-5 (tiles)", {"gpt-5": (1.25, 10.00)}, *_openai_tiles(70, 140), *_OPENAI),
    Family(
        "openai: o1, o3 (tiles)",
        {"o1": (15.00, 60.00), "o3": (2.00, 8.00)},
        *_openai_tiles(75, 150),
        *_OPENAI,
    ),
    Family(
        "openai: gpt-4.1-mini, gpt-5-mini (patches)",
        {"gpt-4.1-mini": (0.40, 1.60), "gpt-5-mini": (0.25, 2.00)},
        *_openai_patches(162, most=1536, longest=2048),
        *_OPENAI,
    ),
    Family(
        "openai: gpt-4.1-nano, gpt-5-nano (patches)",
        {"gpt-4.1-nano": (0.10, 0.40), "gpt-5-nano": (0.05, 0.40)},
        *_openai_patches(246, most=1536, longest=2048),
        *_OPENAI,
    ),
    Family(
        "openai: o4-mini (patches)",
        {"o4-mini": (1.10, 4.40)},
        *_openai_patches(172, most=1536, longest=2048),
        *_OPENAI,
    ),
    Family(
        "openai: gpt-5.4, gpt-5.5 (patches)",
        {"gpt-5.4": (2.50, 15.00), "gpt-5.5": (5.00, 30.00)},
        *_openai_patches(120, most=10_000, longest=6000),
        *_OPENAI,
        doubt="Without a level of detail the API chooses one: the most detailed is assumed. The multiplier 1.2 is in "
        "bills of gpt-5.5, and assumed for gpt-5.4.",
    ),
    Family(
        "openai: gpt-5.6, gpt-6 (patches)",
        {"gpt-5.6": (4.00, 20.00), "gpt-5.6-sol": (4.00, 20.00), "gpt-6-astra": (10.00, 50.00)},
        *_openai_patches(120, most=30_000, longest=65_535),
        *_OPENAI,
        doubt="Pictures of more than 30,000 patches are refused by the API, not scaled down.",
    ),
    Family(
        "anthropic: up to Claude 4.6, Haiku 4.5",
        {
            "claude-haiku-4-5": (1.00, 5.00),
            "claude-sonnet-4-5": (3.00, 15.00),
            "claude-sonnet-4-6": (3.00, 15.00),
            "claude-opus-4-6": (5.00, 25.00),
        },
        *_anthropic(most=1568, longest=1568),
        *_ANTHROPIC,
        doubt="Older copies of the page charge width x height / 750 tokens, which is less once sides are rounded up.",
    ),
    Family(
        "anthropic: Claude 4.7 and later",
        {
            "claude-opus-4-7": (5.00, 25.00),
            "claude-opus-4-8": (5.00, 25.00),
            "claude-opus-5": (5.00, 25.00),
            "claude-opus-5-5": (4.00, 20.00),
            "claude-sonnet-5": (2.00, 10.00),
            "claude-sonnet-5-5": (2.00, 10.00),
        },
        *_anthropic(most=4784, longest=2576),
        *_ANTHROPIC,
        doubt="Published bills of Claude 5.5 are lower above two megapixels than this rule.",
    ),
    Family(
        "google: Gemini 2.5",
        {
            "gemini-2.5-flash-lite": (0.10, 0.40),
            "gemini-2.5-flash": (0.30, 2.50),
            "gemini-2.5-pro": (1.25, 10.00),
        },
        *_gemini_tiles(),
        "https://ai.google.dev/gemini-api/docs/image-understanding",
        _GOOGLE_PRICES,
        doubt="One page cuts tiles of 768 pixels, another tiles of two thirds of the short side. The smaller tile "
        "is taken, which costs more. Bills were seen with 258 tokens for any size, and with one tile more.",
    ),
    Family(
        "google: Gemini 3",
        {
            "gemini-3-flash": (0.50, 3.00),
            "gemini-3.1-flash-lite": (0.25, 1.50),
            "gemini-3.1-pro": (2.00, 12.00),
            "gemini-3.5-flash": (1.50, 9.00),
            "gemini-3.5-flash-lite": (0.30, 2.50),
            "gemini-3.8-flash": (0.75, 3.75),
        },
        *_gemini_budget(1120),
        "https://ai.google.dev/gemini-api/docs/media-resolution",
        _GOOGLE_PRICES,
        doubt="1,120 tokens are the most at the default resolution; bills of 1,056 to 1,101 were seen. Which size is "
        "kept is not documented: the whole picture is assumed.",
    ),
    Family(
        "mistral: Small 3 and 4, Medium 3",
        {"mistral-small": (0.15, 0.60), "mistral-medium": (1.50, 7.50)},
        *_mistral(1540),
        "https://mistralai.github.io/mistral-common/usage/images",
        "https://docs.mistral.ai/models/model-cards/mistral-small-4-0-26-03",
        doubt="The rule is that of the published weights; the API's bill is not documented.",
    ),
)
"""The main providers' chat models, as of :data:`AS_OF`. The first family stands in for unknown models."""
