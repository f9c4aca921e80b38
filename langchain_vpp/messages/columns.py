"""Columns: the runs of one alphabet that a program wrote into text of its own, each behind the same characters.

``put(&H89) put(&H50)``, one byte in each line of a log, base64 with a comment between its characters: what stands
between the pieces of data repeats. So a text is split at the runs of an alphabet, and the runs behind the same
characters, their *frame*, are read together.
"""

from __future__ import annotations

import re
from typing import Final

DECIMAL: Final = re.compile(r"([0-9]++(?:\.[0-9]++)?+)")
HEX: Final = re.compile(r"(?:(?<![A-Za-z0-9])|(?<=[xXhHuU]))([0-9A-Fa-f]++)(?:(?![A-Za-z0-9])|(?=[hH]))")
BASE64: Final = re.compile(r"([A-Za-z0-9+/_-]++)")

_LONGEST_FRAME: Final = 64
# Between runs of digits in base64 stand letters, and those repeat by chance.
_SEPARATOR: Final = re.compile(r"[^A-Za-z0-9+/_-]|^[+/_-]+$")


def columns(alphabet: re.Pattern[str], text: str) -> dict[str, list[str]]:
    """Group the runs of an alphabet by their frames: what stands between each and the run before it.

    The first run of a column follows something else than its successors, but it stands as far before the second one as
    that before the third.

    Args:
        alphabet: A pattern of runs, in a group.
        text: Any text.
    """
    pieces = alphabet.split(text)
    runs = pieces[1::2]
    framed: dict[str, list[int]] = {}
    for place, frame in enumerate(pieces[:-1:2]):
        framed.setdefault(frame[-_LONGEST_FRAME:], []).append(place)
    found: dict[str, list[str]] = {}
    for frame, places in framed.items():
        if len(places) > 1 and _SEPARATOR.search(frame):
            first = 2 * places[0] - places[1]
            found[frame] = [runs[place] for place in ([first, *places] if first >= 0 else places)]
    return found
