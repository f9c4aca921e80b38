"""Fuzzed messages: pictures in many formats, spelled in many ways, cut, mixed with text, anywhere in a message.

What comes out is searched by an oracle that decodes and lets Pillow open whatever it finds.

    python -m tests.unit.langchain_vpp.messages.test_fuzzed_spellings 10000

makes a large run, and prints its figures.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import random
import sys
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from PIL import Image

from langchain_vpp import ImageProtector, ProtectionError
from langchain_vpp.engines import Pixelate
from tests.unit.langchain_vpp.messages.decoder_oracle import find_picture

if TYPE_CHECKING:
    from collections.abc import Callable

MESSAGES = 150
"""Messages in the suite. A large run has 10,000; see above."""

SEED = 20
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "ICO", "PPM", "AVIF")
PROSE = "The quick brown fox jumps over the lazy dog. "


def picture(chance: random.Random) -> bytes:
    side = chance.choice((12, 16, 24, 40))
    image = Image.frombytes("RGB", (side, side), chance.randbytes(3 * side * side))
    if chance.random() < 0.3:
        image = Image.linear_gradient("L").resize((side, side)).convert("RGB")
    file = io.BytesIO()
    image.save(file, chance.choice(FORMATS))
    data = file.getvalue()
    if data.startswith(b"\xff\xd8") and chance.random() < 0.5:
        return data[:2] + b"\xff" * chance.randint(1, 5) + data[2:]  # legal fill bytes
    return data


def hex_dump(data: bytes) -> str:
    return "\n".join(
        f"{start:08x}  {data[start : start + 16].hex(' ')}  |................|"
        for start in range(0, len(data), 16)
    )


def uu(data: bytes) -> str:
    lines = [binascii.b2a_uu(data[start : start + 45]).decode() for start in range(0, len(data), 45)]
    return "begin 644 a.bin\n" + "".join(lines) + "`\nend\n"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


TEXTS: tuple[Callable[[bytes], str], ...] = (
    b64,
    lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="),
    lambda data: base64.encodebytes(data).decode(),
    lambda data: base64.b32encode(data).decode(),
    lambda data: base64.b85encode(data).decode(),
    lambda data: base64.a85encode(data, wrapcol=76).decode(),
    uu,
    bytes.hex,
    lambda data: data.hex(" ", 2),
    lambda data: data.hex(":").upper(),
    hex_dump,
    lambda data: " ".join(f"{byte:03o}" for byte in data),
    lambda data: "".join(f"{byte:08b}" for byte in data),
    lambda data: str(list(data)),
    lambda data: str([byte - 256 if byte > 127 else byte for byte in data]),
    lambda data: json.dumps({str(place): byte for place, byte in enumerate(data)}),
    lambda data: "".join(f"&#{byte};" for byte in data),
    lambda data: "".join(f"&#x{byte:02X};" for byte in data),
    lambda data: "".join(f"%{byte:02x}" for byte in data),
    lambda data: "".join(f"={byte:02X}" for byte in data),
    lambda data: "".join(f"\\u{byte:04x}" for byte in data),
    lambda data: "".join(chr(0x2800 + byte) for byte in data),
    lambda data: data.decode("latin-1"),
    lambda data: data.decode("utf-8", "surrogateescape"),
    lambda data: data.decode("utf-16-le", "surrogatepass") if len(data) % 2 == 0 else b64(data),
    repr,
    lambda data: f"data:image/png;base64,{b64(data)}",
    lambda data: "data:image/png," + data.decode("utf-8", "surrogateescape"),
)
VALUES: tuple[Callable[[bytes, random.Random], Any], ...] = (
    lambda data, _: data,
    lambda data, _: bytearray(data),
    lambda data, _: list(data),
    lambda data, _: [byte / 255 for byte in data],
    lambda data, _: [byte - 256 if byte > 127 else byte for byte in data],
    lambda data, _: {str(place): byte for place, byte in enumerate(data)},
    lambda data, _: [list(data[start : start + 48]) for start in range(0, len(data), 48)],
    lambda data, _: [data[start : start + 60] for start in range(0, len(data), 60)],
    lambda data, _: int.from_bytes(data, "big"),
    lambda data, chance: cut(chance.choice(TEXTS)(data), chance),
    lambda data, chance: dict(enumerate(cut(b64(data), chance))),
    lambda data, chance: [{"type": "piece", "data": piece} for piece in cut(b64(data), chance)],
)


def cut(text: str, chance: random.Random) -> list[str]:
    width = chance.choice((12, 24, 30, 60, 500))
    return [text[start : start + width] for start in range(0, len(text), width)]


def spelled(data: bytes, chance: random.Random) -> Any:
    """Spell a picture: as a value or as text, in one layer or two, alone or among words."""
    if chance.random() < 0.3:
        return chance.choice(VALUES)(data, chance)
    text = chance.choice(TEXTS)(data)
    form = chance.randrange(7)
    if form == 0:
        text = b64(text.encode("utf-8", "surrogatepass"))
    elif form == 1:
        text = json.dumps({"content": text})
    elif form == 2:
        text = PROSE + text + " " + PROSE
    elif form == 3:
        text = "\n".join(f"part {number}: {piece}" for number, piece in enumerate(cut(text, chance)))
    elif form == 4:
        text = text.replace("+", "&#43;").replace("/", "\\/")
    return text


def carried(thing: Any, chance: random.Random) -> BaseMessage:
    """Put something anywhere into a message, past the validation that a caller could avoid as well."""
    block: Any = chance.choice(
        [
            {"type": "text", "text": thing},
            {"type": "text", "text": "Hi.", "extras": {"more": [thing]}},
            {"type": "image", "base64": thing},
            {"type": "image_url", "image_url": {"url": thing}},
            {"type": "file", "text": "Hi.", "id": thing},
            {"type": "input_file", "file_data": thing},
            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "json", "json": thing}]},
            {"type": "document", "source": {"type": "text", "data": thing}},
            {"type": "non_standard", "value": {"type": "unknown", "data": thing}},
            {"type": "reasoning", "reasoning": "Hm.", "extras": {"signature": thing}},
            {
                "type": "search_result",
                "source": "x",
                "title": "t",
                "content": [{"type": "text", "text": thing}],
            },
            {"toolResult": {"content": [{"json": {"a": thing}}]}},
            thing,
        ]
    )
    message: BaseMessage = chance.choice([HumanMessage, AIMessage, SystemMessage])("Hi.")
    place = chance.choice(
        ["content"] * 6 + ["text", "args", "kwargs", "metadata", "artifact", "extra", "name"]
    )
    if place == "content":
        message.content = [{"type": "text", "text": "See:"}, block]
    elif place == "text":
        message.content = thing
    elif place == "args":
        return AIMessage("").model_copy(
            update={"tool_calls": [{"name": "f", "args": {"a": thing}, "id": "1"}]}
        )
    elif place == "kwargs":
        message.additional_kwargs = {"a": {"b": thing}}
    elif place == "metadata":
        message.response_metadata = {"logprobs": {"content": [{"token": thing, "logprob": -0.5}]}}
    elif place == "artifact":
        return ToolMessage("Done.", tool_call_id="1", artifact={"rows": [thing, thing]})
    elif place == "extra":
        return HumanMessage("Hi.", attachment=thing)
    else:
        message.name = thing
    return message


def outcome(protector: ImageProtector, message: BaseMessage) -> tuple[str, list[Any]]:
    """Return how a message fared, and everything that can be seen of it afterwards."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (protected,) = protector.protect_messages([message])
    except ProtectionError as error:
        return "refused", [str(error), error.args, error.__cause__, error.__context__]
    except Exception as error:  # noqa: BLE001  what must not happen is counted
        return f"foreign {type(error).__name__}", []
    return "passed", [protected]


def protected_files(value: Any) -> frozenset[bytes]:
    blocks = [block for message in value if isinstance(message, BaseMessage) for block in message.content]
    return frozenset(
        base64.b64decode(block["base64"])
        for block in blocks
        if isinstance(block, dict) and block.keys() == {"type", "base64", "mime_type"}
    )


def run(messages: int, seed: int = SEED) -> tuple[Counter[str], list[str]]:
    """Fuzz, and return the numbers of outcomes, and the leaks."""
    chance = random.Random(seed)
    counts: Counter[str] = Counter()
    leaks: list[str] = []
    protectors = [ImageProtector(Pixelate()), ImageProtector(Pixelate(), on_unsupported="drop")]
    for number in range(messages):
        message = carried(spelled(picture(chance), chance), chance)
        how, seen = outcome(chance.choice(protectors), message)
        counts[how] += 1
        found = find_picture(seen, protected_files(seen))
        if found is not None:
            leaks.append(f"message {number}: {found}: {str(seen)[:300]}")
    return counts, leaks


@pytest.mark.slow(seconds=6)
def test_no_picture_comes_out_of_a_fuzzed_message_and_no_foreign_exception() -> None:
    counts, leaks = run(MESSAGES)
    assert leaks == []
    assert set(counts) == {"passed", "refused"}
    assert counts["passed"] > MESSAGES / 20


@pytest.mark.slow(seconds=6)
def test_the_oracle_opens_most_of_what_is_fuzzed() -> None:
    # Otherwise the test above would mean nothing.
    chance = random.Random(SEED)
    opened = [find_picture([carried(spelled(picture(chance), chance), chance)]) for _ in range(100)]
    assert sum(found is not None for found in opened) > 60


if __name__ == "__main__":
    for figures in run(int(sys.argv[1])):
        print(figures)
