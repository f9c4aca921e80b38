"""Pictures spelled out in text are found, at any alignment; ordinary long text is left alone."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import random
import uuid

import pytest
from PIL import Image

from langchain_vpp.messages.file_headers import SHORTEST_SPELLING, find_file_header
from langchain_vpp.messages.spelled import holds_pixels
from langchain_vpp.messages.tree import find_media

RANDOM = random.Random(3)
NOISE = RANDOM.randbytes(20_000)
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000")


def encode(file_format: str) -> bytes:
    file = io.BytesIO()
    Image.frombytes("RGB", (20, 20), NOISE[:1200]).save(file, file_format)
    return file.getvalue()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def wrap(text: str, width: int) -> list[str]:
    return [text[start : start + width] for start in range(0, len(text), width)]


@pytest.mark.slow(seconds=0.06)
@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("shift", range(4))
def test_base64_is_found_at_every_alignment_and_alphabet(file_format: str, shift: int) -> None:
    data = NOISE[:shift] + encode(file_format)
    for encoded in (b64(data), base64.urlsafe_b64encode(data).decode().rstrip("=")):
        assert holds_pixels(encoded)
        assert holds_pixels(f"before {encoded[: len(encoded) // 2]} after")
        assert holds_pixels("x" * (shift + 1) + encoded)
        assert holds_pixels("\n".join(wrap(encoded, 64)))
        assert holds_pixels(json.dumps({"a": "\r\n".join(wrap(encoded, 76))}))


@pytest.mark.parametrize("file_format", FORMATS)
def test_other_spellings_are_found(file_format: str) -> None:
    data = encode(file_format)
    spellings = {
        "hex": data.hex(),
        "upper hex after an odd digit": "A" + data.hex().upper(),
        "hex dump": data.hex(" "),
        "hex dump with commas": ", ".join(f"0x{byte:02X}" for byte in data),
        "numbers": str(list(data)),
        "compact numbers": json.dumps(list(data), separators=(",", ":")),
        "repr": str(data),
        "JSON of Latin-1": json.dumps(data.decode("latin-1")),
        "JSON of JSON of Latin-1": json.dumps(json.dumps(data.decode("latin-1"))),
        "octal": "".join(f"\\{byte:03o}" for byte in data),
        "percent": "".join(f"%{byte:02X}" for byte in data),
        "quoted-printable": "".join(f"={byte:02X}" for byte in data),
        "Latin-1": data.decode("latin-1"),
        "surrogates": data.decode("utf-8", "surrogateescape"),
        "base64 of base64": b64(b64(data).encode()),
        "base64 of JSON of a data URL": b64(json.dumps({"i": f"data:image/png;base64,{b64(data)}"}).encode()),
    }
    assert [name for name, text in spellings.items() if not holds_pixels(text)] == []


def test_a_pdf_and_videos_are_found_too() -> None:
    for header in (
        b"%PDF-1.7\n",
        b"\0\0\0\x20ftypmp42",
        b"\0\0\0\x14ftypqt  ",
        b"RIFF\0\0\0\0AVI ",
        b"\x1aE\xdf\xa3",
    ):
        assert holds_pixels(b64(header + NOISE[:100]))


@pytest.mark.parametrize(
    ("length", "found"), [(1_900, False), (2_100, True)], ids=["below the budget", "above the budget"]
)
@pytest.mark.parametrize("width", [5_000, 64, 20])
def test_the_budget_for_data_without_a_known_header(width: int, length: int, found: bool) -> None:  # noqa: FBT001
    run = "\n".join(wrap(b64(NOISE)[:length], width))
    assert holds_pixels(f"token: {run}.") is found
    assert not holds_pixels(f"token: {run}.", opaque=True)


def test_a_data_url_of_an_unknown_picture_format_is_found() -> None:
    assert holds_pixels(f"data:image/x-raw;base64,{b64(NOISE[:60])}")
    assert not holds_pixels("data:image/png;base64,iVBORw0KGgo")


def test_a_file_header_is_refused_even_where_opaque_tokens_are_expected() -> None:
    assert holds_pixels(b64(encode("PNG")), opaque=True)


JWT = ".".join(
    base64.urlsafe_b64encode(part).decode().rstrip("=")
    for part in (
        b'{"alg":"RS512","typ":"JWT","kid":"' + b"k" * 40 + b'"}',
        json.dumps({"sub": "1", "groups": [str(uuid.UUID(int=n)) for n in range(150)]}).encode(),
        NOISE[:512],
    )
)
ORDINARY = {
    "JWT with a 7 kB payload and a 4096-bit signature": f"Authorization: Bearer {JWT}",
    "SHA-512": hashlib.sha512(b"x").hexdigest(),
    "many hashes": "\n".join(hashlib.sha256(bytes([n])).hexdigest() for n in range(200)),
    "many hashes in JSON": json.dumps([hashlib.sha512(bytes([n])).hexdigest() for n in range(99)]),
    "UUIDs": " ".join(str(uuid.UUID(int=n)) for n in range(99)),
    "SSH key": "ssh-rsa " + b64(b"\0\0\0\x07ssh-rsa" + NOISE[:520]) + " me@host",
    "PEM": "-----BEGIN PRIVATE KEY-----\n"
    + "\n".join(wrap(b64(NOISE[:2370]), 64))
    + "\n-----END PRIVATE KEY-----",
    "DER certificate": b64(b"0\x82\x05\xb6" + NOISE[:1_500]),
    "base64 of a long text": b64(("Lorem ipsum dolor sit amet, grüße. " * 400).encode()),
    "long URL": "https://example.com/"
    + "/".join(f"a-long_path-segment{n}" for n in range(60))
    + "?a="
    + "b" * 200,
    "minified code": "function(a,b){return" + "".join(f"x{n}=y{n}+z[{n}]*w/{n};" for n in range(1_500)) + "}",
    "ruler": "-" * 5_000 + "=" * 5_000 + "_" * 5_000,
    "genome": "ACGT" * 5_000,
    "protein": "MTTQAPTFTQPLQSVVVLEGSTATFEAHISGFPVPEVSWFRDGQVISTSTLPGVQISFSDGRAKLTIPAVTKANSGRYSLKATNGSGQ"
    * 40,
    "question about PNG": (
        "Base64 of a PNG begins with iVBORw0KGgoAAAANSUhEUgAA, its bytes with 89 50 4E 47 0D 0A 1A 0A."
    ),
    "prose about GIF89a and PDF": "Ein GIF89a, ein RIFF oder %PDF-1.7: das Übliche, und mehr Wörter danach. "
    * 3,
    "embeddings": json.dumps([round(n / 7 % 1, 6) for n in range(1_536)]),
    "counts": json.dumps(list(range(255)) * 4),
    "Chinese": "敏捷的棕色狐狸跳过了懒狗。" * 400,
    "inline SVG icon": (
        "url(\"data:image/svg+xml,%3csvg xmlns='http://www.w3.org/2000/svg' "
        "viewBox='0 0 16 16'%3e%3cpath d='M2 5l6 6 6-6'/%3e%3c/svg%3e\")"
    ),
    "encoded query": "https://example.com/?q=" + "%E4%BD%A0%E5%A5%BD" * 300,
}


@pytest.mark.slow(seconds=0.03)
@pytest.mark.parametrize("text", ORDINARY.values(), ids=ORDINARY.keys())
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert not holds_pixels(text)


@pytest.mark.slow(seconds=1)
def test_random_tokens_of_everyday_length_are_left_alone() -> None:
    generator = random.Random(11)
    for length in (32, 64, 256, 512, 1_024, 1_500):
        for _ in range(150):
            assert not holds_pixels("key=" + b64(generator.randbytes(length)))


def test_a_header_needs_a_file_behind_it() -> None:
    data = b"junk" + encode("PNG")
    assert find_file_header(data) == 4
    assert find_file_header(data[: 4 + SHORTEST_SPELLING]) == 4
    assert find_file_header(data[: 3 + SHORTEST_SPELLING]) is None
    assert find_file_header(NOISE) is None


FRAMES = {
    "suffixed literals": lambda data: ",".join(f"{byte}u" for byte in data),
    "Lisp": lambda data: "#(" + " ".join(f"#x{byte:02X}" for byte in data) + ")",
    "Basic": lambda data: ", ".join(f"&H{byte:02X}" for byte in data),
    "assembler": lambda data: "db " + ", ".join(f"0{byte:02x}h" for byte in data),
    "addresses": lambda data: "\n".join(
        ".".join(map(str, data[at : at + 4])) for at in range(0, len(data), 4)
    ),
    "a log of bytes": lambda data: "\n".join(f"2026-11-30 12:00:00 INFO value={byte}" for byte in data),
    "a log of hex": lambda data: "\n".join(
        f"2026-11-30 INFO the request {data[at : at + 16].hex()} was done" for at in range(0, len(data), 16)
    ),
    "short braces": lambda data: "".join(f"\\u{{{byte:x}}}" for byte in data),
    "Rust": lambda data: ", ".join(f"{byte}u8" for byte in data),
    "Java": lambda data: ", ".join(f"(byte) 0x{byte:02x}" for byte in data),
    "Verilog": lambda data: ", ".join(f"8'h{byte:02X}" for byte in data),
    "octal literals": lambda data: " ".join(f"0o{byte:o}" for byte in data),
    "binary literals": lambda data: " ".join(f"0b{byte:08b}" for byte in data),
    "calls": lambda data: " & ".join(f"Chr({byte})" for byte in data),
    "assignments": lambda data: "\n".join(f"a[{place}] = {byte};" for place, byte in enumerate(data)),
    "records": lambda data: json.dumps([{"i": place, "v": f"{byte:02x}"} for place, byte in enumerate(data)]),
    "statements": lambda data: "\n".join(
        f"VALUES ({place}, '{byte:02x}');" for place, byte in enumerate(data)
    ),
    "elements": lambda data: "".join(f"<b>{byte:02x}</b>" for byte in data),
    "comments": lambda data: "<!-- -->".join(b64(data)),
    "comments with words": lambda data: "<!-- next -->".join(b64(data)),
    "numbered comments": lambda data: "".join(
        f"{piece}<!-- {place} -->" for place, piece in enumerate(wrap(b64(data), 4))
    ),
    "dashes": lambda data: "-".join(f"{byte:02X}" for byte in data),
    "sums": lambda data: "+".join(map(str, data)),
    "spans": lambda data: "".join(f'<span class="c">{character}</span>' for character in b64(data)),
    "a log of base64": lambda data: "\n".join(f"INFO c={character}" for character in b64(data)),
}


@pytest.mark.slow(seconds=0.02)
@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "GIF"])
def test_a_file_is_found_between_what_a_program_repeats(frame: str, file_format: str) -> None:
    text = "Please look:\n" + FRAMES[frame](encode(file_format))
    assert holds_pixels(text)


def test_a_file_is_found_in_values_of_its_bytes_or_of_its_pieces() -> None:
    data = encode("PNG")
    values = [
        [data[place : place + 1] for place in range(len(data))],
        [[byte] for byte in data],
        [item for byte in data for item in (byte, None)],
        [{"name": f"n{place}", "value": piece} for place, piece in enumerate(wrap(b64(data), 6))],
        {piece: place for place, piece in enumerate(wrap(b64(data), 20))},
        [f"{byte:02x}" for byte in data],
        [range(byte) for byte in data],
    ]
    assert [value for value in values if find_media(value) is None] == []
