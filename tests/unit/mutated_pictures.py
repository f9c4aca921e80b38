"""Damaged, spliced and rebuilt files, thousands of them: whatever they are, a plain picture or a refusal comes out.

    python -m tests.unit.mutated_pictures --first 0 --count 1000

prints a line of JSON. Case ``n`` depends on ``n`` alone, so a failure is repeated with ``--first n --count 1``. A crash
or a hang ends the process, so this is for a process of its own; its last line on stderr then names the case.
"""

from __future__ import annotations

import argparse
import base64
import faulthandler
import json
import random
import re
import struct
import sys
import traceback
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from langchain_core.messages import HumanMessage

from langchain_vpp import ImageProtector, ProtectionError
from langchain_vpp.engines import Pixelate
from tests.unit.marked_pictures import MARK, check_output, moving_pictures, still_pictures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A case takes milliseconds, or a second where a size was raised to the bound on pixels.
SECONDS = 30
_INTERESTING = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)
_WORDS = (0, 1, 0x7F, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


class Summary(NamedTuple):
    """How many cases ended in which way, and what was wrong with the others."""

    protected: int
    refused: int
    failures: list[str]
    peak_megabytes: int


def main() -> None:
    """Run cases and print a summary."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--first", type=int, default=0)
    arguments.add_argument("--count", type=int, default=1000)
    options = arguments.parse_args()
    warnings.simplefilter("ignore")
    print(json.dumps(run(options.first, options.count)._asdict()))


def run(first: int, count: int, protect: Callable[[bytes], bytes] | None = None) -> Summary:
    """Give mutated files to ``protect``, which is by default what messages go through."""
    protect = protect or protect_message
    bases = list((still_pictures() | moving_pictures()).values())
    protected = refused = 0
    failures: list[str] = []
    for number in range(first, first + count):
        data = mutated(bases, random.Random(number))
        print(f"case {number}", file=sys.stderr, flush=True)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            check_output(protect(data))
            protected += 1
        except ProtectionError as error:
            refused += 1
            if MARK.decode() in str(error) or error.__cause__ or error.__context__:
                failures.append(f"case {number}: the refusal carries content")
        except Exception as error:  # noqa: BLE001  that there is none is what is tested
            failures.append(f"case {number}: {traceback.format_exception(error)[-1].strip()}")
        finally:
            faulthandler.cancel_dump_traceback_later()
    return Summary(protected, refused, failures, _peak_megabytes())


def _peak_megabytes() -> int:
    """The most memory that this process has ever taken; 0 where only Linux would tell."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) // 1024 if found else 0


def protect_message(data: bytes) -> bytes:
    """What is sent for a file."""
    protector = ImageProtector(Pixelate(), level=0.3, memo_bytes=0)
    block = {"type": "image", "base64": base64.b64encode(data).decode(), "mime_type": "image/png"}
    (message,) = protector.protect_messages([HumanMessage([block])])
    (sent,) = message.content
    return base64.b64decode(sent["base64"])


def mutated(bases: list[bytes], chance: random.Random) -> bytes:
    """One file, changed in one to three ways."""
    data = chance.choice(bases)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        data = chance.choice(_WAYS)(data, chance, bases) or b"\0"
    return data


def _flip_bits(data: bytes, chance: random.Random, _: list[bytes]) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 2, 8, 32))):
        changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _set_bytes(data: bytes, chance: random.Random, _: list[bytes]) -> bytes:
    changed = bytearray(data)
    # Headers are where the decisions are.
    bound = chance.choice((64, 512, len(data)))
    for _ in range(chance.choice((1, 2, 4))):
        changed[chance.randrange(min(bound, len(data)))] = chance.choice(
            (*_INTERESTING, chance.randrange(256))
        )
    return bytes(changed)


def _set_word(data: bytes, chance: random.Random, _: list[bytes]) -> bytes:
    layout, limit = chance.choice((("<H", 0xFFFF), (">H", 0xFFFF), ("<I", 0xFFFFFFFF), (">I", 0xFFFFFFFF)))
    at = chance.randrange(min(len(data), chance.choice((64, 512, len(data)))))
    word = struct.pack(layout, min(limit, chance.choice(_WORDS)))
    return data[:at] + word + data[at + len(word) :]


def _cut(data: bytes, chance: random.Random, _: list[bytes]) -> bytes:
    return data[: chance.randrange(len(data))]


def _drop(data: bytes, chance: random.Random, _: list[bytes]) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + data[at + chance.choice((1, 2, 16, 256)) :]


def _repeat(data: bytes, chance: random.Random, _: list[bytes]) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + data[at : at + chance.choice((1, 4, 64, 1024))] * chance.choice((2, 3, 50)) + data[at:]


def _insert_noise(data: bytes, chance: random.Random, _: list[bytes]) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + chance.randbytes(chance.choice((1, 4, 64))) + data[at:]


def _splice(data: bytes, chance: random.Random, bases: list[bytes]) -> bytes:
    other = chance.choice(bases)
    return data[: chance.randrange(len(data))] + other[chance.randrange(len(other)) :]


def _embed(data: bytes, chance: random.Random, bases: list[bytes]) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + chance.choice(bases) + data[at:]


def _rearrange(data: bytes, chance: random.Random, bases: list[bytes]) -> bytes:
    """Drop, repeat, swap or borrow whole parts of the format's own structure, with checksums that hold."""
    parts = list(_parts(data))
    if len(parts) < 3:
        return _splice(data, chance, bases)
    at = chance.randrange(1, len(parts))
    match chance.randrange(5):
        case 0:
            del parts[at]
        case 1:
            parts.insert(at, parts[at])
        case 2:
            other = chance.randrange(1, len(parts))
            parts[at], parts[other] = parts[other], parts[at]
        case 3:
            borrowed = list(_parts(chance.choice(bases)))
            parts.insert(at, chance.choice(borrowed))
        case _:
            parts[at] = _checked(_set_bytes(parts[at], chance, bases))
    return b"".join(parts)


def _parts(data: bytes) -> Iterator[bytes]:
    """Split a file into what its format is made of: segments, chunks, boxes; anything else into pieces."""
    if data.startswith(b"\xff\xd8"):
        yield data[:2]
        yield from _sized(data, 2, lambda at: 2 + int.from_bytes(data[at + 2 : at + 4], "big"))
    elif data.startswith(b"\x89PNG"):
        yield data[:8]
        yield from _sized(data, 8, lambda at: 12 + int.from_bytes(data[at : at + 4], "big"))
    elif data.startswith(b"RIFF"):
        yield data[:12]
        yield from _sized(
            data, 12, lambda at: 8 + (int.from_bytes(data[at + 4 : at + 8], "little") + 1) // 2 * 2
        )
    elif data[4:8] == b"ftyp":
        yield from _sized(data, 0, lambda at: int.from_bytes(data[at : at + 4], "big"))
    else:
        yield from (data[at : at + 12] for at in range(0, len(data), 12))


def _sized(data: bytes, at: int, size: Callable[[int], int]) -> Iterator[bytes]:
    while at < len(data):
        end = at + max(1, size(at))
        yield data[at:end]
        at = end


def _checked(part: bytes) -> bytes:
    """The part with the checksum that a PNG's chunk needs; for other formats these are just other bytes."""
    if len(part) > 12 and part[4:8].isalpha():
        return part[:-4] + struct.pack(">I", zlib.crc32(part[4:-4]))
    return part


_WAYS = (
    _flip_bits, _set_bytes, _set_word, _cut, _drop, _repeat, _insert_noise, _splice, _embed, _rearrange, _rearrange,
)  # fmt: skip


if __name__ == "__main__":
    main()
