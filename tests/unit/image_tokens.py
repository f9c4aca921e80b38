"""Image tokens of known chat models at known sizes: what every command must count.

Worked out by hand from the providers' pages that :data:`langchain_vpp.providers.FAMILIES` names, such as tiles of 512
pixels for gpt-4o: 4000 x 3000 is kept as 1024 x 768, which is 4 tiles, and 85 + 4 x 170 = 765.
"""

from __future__ import annotations

SIZES = ((320, 240), (640, 480), (1024, 768), (1024, 1024), (1920, 1080), (4000, 3000))
TRAINING_SIZES = SIZES[:4]
"""Those that training can send: its pictures have at most 1,024 pixels along the longest side."""

GOLDEN = {
    "gpt-4o": (255, 425, 765, 765, 1105, 765),
    "gpt-4o-mini": (8500, 14167, 25501, 25501, 36835, 25501),
    "gpt-5": (210, 350, 630, 630, 910, 630),
    "gpt-4.1-mini": (130, 486, 1245, 1659, 2443, 2353),
    "gpt-5-nano": (197, 738, 1890, 2520, 3710, 3572),
    "o4-mini": (138, 516, 1321, 1762, 2594, 2498),
    "gpt-5.5": (96, 360, 922, 1229, 2448, 11868),
    "claude-sonnet-4-6": (108, 414, 1036, 1369, 1560, 1564),
    "claude-opus-4-8": (108, 414, 1036, 1369, 2691, 4740),
    "gemini-2.5-flash": (258, 1032, 1032, 1032, 1548, 6192),
    "gemini-3.5-flash": (1120, 1120, 1120, 1120, 1120, 1120),
    "mistral-small": (117, 432, 1064, 1406, 1736, 2352),
}
"""Model -> tokens of a picture of each of :data:`SIZES`."""
