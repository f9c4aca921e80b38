# ruff: noqa: RUF001, E501
"""Volume: data count whatever their alphabet; texts of languages, programs, logs and tables count nothing."""

from __future__ import annotations

import base64
import csv
import hashlib
import inspect
import io
import ipaddress
import json
import random
import string
import textwrap
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import certifi
import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from PIL import Image

from langchain_vpp.errors import ProtectionError
from langchain_vpp.messages import tree, walk
from langchain_vpp.messages.spelled import holds_pixels
from langchain_vpp.messages.tree import find_media
from langchain_vpp.messages.volume import BUDGET, numbers_volume, text_volume
from langchain_vpp.messages.walk import plan_messages
from tests.unit.langchain_vpp.messages.samples import DROP, PICTURE, STRICT

if TYPE_CHECKING:
    from collections.abc import Callable

CHANCE = random.Random(17)
# Data without a header: as a picture that was encrypted, compressed otherwise, or cut out of its file.
DATA = CHANCE.randbytes(3_000)
PHOTO = Image.effect_noise((64, 64), 60)


def digits(data: bytes, alphabet: str) -> str:
    """Write data as one large number, in any alphabet."""
    number, written = int.from_bytes(data, "big"), []
    while number:
        number, rest = divmod(number, len(alphabet))
        written.append(alphabet[rest])
    return "".join(written)


def shuffled(characters: str) -> str:
    return "".join(random.Random(4).sample(characters, len(characters)))


ALPHABETS: dict[str, Callable[[bytes], str]] = {
    "binary": lambda data: "".join(f"{byte:08b}" for byte in data),
    "letters for hex": lambda data: data.hex().translate(
        str.maketrans("0123456789abcdef", "ghijklmnopqrstuv")
    ),
    "hex in groups": lambda data: data.hex(" ", 2),
    "decimal": lambda data: digits(data, string.digits),
    "base32": lambda data: base64.b32encode(data).decode(),
    "base36": lambda data: digits(data, string.digits + string.ascii_lowercase),
    "base58": lambda data: digits(data, "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"),
    "base62": lambda data: digits(data, string.digits + string.ascii_letters),
    "base64 of an own order": lambda data: digits(
        data, shuffled(string.ascii_letters + string.digits + "+/")
    ),
    "base64 backwards": lambda data: base64.b64encode(data).decode()[::-1],
    "base64 in groups of five": lambda data: " ".join(textwrap.wrap(base64.b64encode(data).decode(), 5)),
    "base85": lambda data: base64.b85encode(data).decode(),
    "base91": lambda data: digits(data, shuffled(string.printable[:91])),
    "emoji": lambda data: "".join(chr(0x1F300 + byte) for byte in data),
    "ideographs": lambda data: "".join(chr(0x4E00 + 9 * byte) for byte in data),
    "two bytes each": lambda data: "".join(
        chr(0x10000 + one * 256 + two) for one, two in zip(data[::2], data[1::2], strict=True)
    ),
    "Cyrillic letters": lambda data: "".join(chr(0x400 + byte) for byte in data),
    "private letters": lambda data: "".join(chr(0xE000 + byte) for byte in data),
}
PLACES: dict[str, Callable[[str], Any]] = {
    "text": str,
    "lines": lambda text: "\n".join(textwrap.wrap(text, 76)),
    "list": lambda text: textwrap.wrap(text, 30),
    "numbered": lambda text: dict(enumerate(textwrap.wrap(text, 35))),
    "JSON": lambda text: json.dumps({"pieces": textwrap.wrap(text, 50)}),
    "among words": lambda text: f"This is what the tool returned: {text} Please look at it.",
    "two blocks": lambda text: [{"a": text[: len(text) // 2]}, {"b": text[len(text) // 2 :]}],
}


@pytest.mark.slow(seconds=0.05)
@pytest.mark.parametrize("alphabet", ALPHABETS)
@pytest.mark.parametrize("place", PLACES)
def test_data_are_refused_in_any_alphabet_and_place(alphabet: str, place: str) -> None:
    thing = PLACES[place](ALPHABETS[alphabet](DATA))
    with pytest.raises(ProtectionError):
        plan_messages([ToolMessage("Done.", tool_call_id="1", artifact=thing)], STRICT)


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_the_volume_is_about_the_size_of_the_data(alphabet: str) -> None:
    # Of two bytes in one character, a window shows ten bits; separators between groups count too.
    assert 0.6 * len(DATA) < text_volume(ALPHABETS[alphabet](DATA)) < 1.35 * len(DATA)


PIXELS = list(PHOTO.tobytes())
NUMBERS: dict[str, Any] = {
    "list": PIXELS,
    "rows": [PIXELS[start : start + 64] for start in range(0, 4_096, 64)],
    "triples": [PIXELS[start : start + 3] for start in range(0, 4_095, 3)],
    "tuples": [tuple(PIXELS[start : start + 4]) for start in range(0, 4_096, 4)],
    "signed": [value - 128 for value in PIXELS],
    "fractions": [value / 255 for value in PIXELS],
    "normalized": [round((value / 255 - 0.485) / 0.229, 4) for value in PIXELS],
    "larger": [value * 257 for value in PIXELS],
    "text": [str(value) for value in PIXELS],
    "by index": {str(place): value for place, value in enumerate(PIXELS)},
    "by place": {f"{place % 64},{place // 64}": value for place, value in enumerate(PIXELS)},
    "colours by name": [{"r": value, "g": 255 - value, "b": value // 2} for value in PIXELS],
    "one number": int.from_bytes(DATA, "big"),
    "JSON": json.dumps(PIXELS),
    "JSON of rows": json.dumps([PIXELS[start : start + 64] for start in range(0, 4_096, 64)]),
    "lines": "\n".join(" ".join(map(str, PIXELS[start : start + 64])) for start in range(0, 4_096, 64)),
    "fractions as text": json.dumps([value / 255 for value in PIXELS]),
    "mixed": [item for value in PIXELS for item in ("x", value)],
}


@pytest.mark.slow(seconds=0.02)
@pytest.mark.parametrize("kind", NUMBERS)
def test_pixels_as_numbers_are_refused(kind: str) -> None:
    with pytest.raises(ProtectionError):
        plan_messages([ToolMessage("Done.", tool_call_id="1", artifact=NUMBERS[kind])], STRICT)


def test_what_is_spread_over_a_message_is_refused_under_both_policies() -> None:
    text = base64.b32encode(DATA).decode()
    pieces: list[Any] = [
        {"type": "text", "text": text[start : start + 600]} for start in range(0, len(text), 600)
    ]
    for policy in (STRICT, DROP):
        assert plan_messages([HumanMessage([piece]) for piece in pieces], policy)
        with pytest.raises(ProtectionError, match="as many as a picture takes"):
            plan_messages([HumanMessage(pieces)], policy)


def test_data_in_distinct_keys_and_in_cells_of_hex_are_refused() -> None:
    data = CHANCE.randbytes(3_000)
    text = base64.b64encode(data).decode()
    keys = {text[at : at + 30]: at for at in range(0, len(text), 30)}
    picture = [f"{byte:02x}" for byte in PICTURE]
    for thing in (keys, picture):
        assert find_media(thing) is not None
    assert find_media([{f"field_{n}": n for n in range(500)}] * 20) is None


NOISE = CHANCE.randbytes(2_400)
MORSE = "----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----. .- -... -.-. -.. . ..-.".split()  # noqa: SIM905
SHARED = [[f"{n} of 256"] for n in range(256)]
UNITS = "zero one two three four five six seven eight nine".split()  # noqa: SIM905
THINNED: dict[str, Callable[[bytes], Any]] = {
    "Basic": lambda data: " ".join(f"&H{byte:02X}" for byte in data),
    "calls": lambda data: "\n".join(f"put(&H{byte:02X});" for byte in data),
    "suffixes": lambda data: ",".join(f"{byte}u" for byte in data),
    "assembler": lambda data: "\n".join(
        "db " + ", ".join(f"0{byte:02x}h" for byte in data[start : start + 8])
        for start in range(0, len(data), 8)
    ),
    "octal literals": lambda data: " ".join(f"0o{byte:o}" for byte in data),
    "a log": lambda data: "\n".join(
        f"2026-11-30 12:00:{n % 60:02} INFO value={byte}" for n, byte in enumerate(data)
    ),
    "a log of hex": lambda data: "\n".join(f"INFO byte 0x{byte:02x} received" for byte in data),
    "a log of characters": lambda data: "\n".join(f"INFO c={character}" for character in encoded(data)),
    "comments": lambda data: "<!-- -->".join(encoded(data)),
    "line breaks": lambda data: "<br/>".join(textwrap.wrap(encoded(data), 8)),
    "dots": lambda data: ".".join(encoded(data)),
    "spaces": lambda data: " ".join(encoded(data)),
    "quotes": lambda data: ", ".join(f"'{character}'" for character in encoded(data)),
    "invisible spaces": lambda data: "\u200b".join(encoded(data)),
    "words": lambda data: " ".join(UNITS[int(digit)] for byte in data for digit in f"{byte:03}"),
    "two words": lambda data: " ".join(UNITS[int(bit)] for byte in data for bit in f"{byte:08b}"),
    "colours": lambda data: " ".join(f"#{byte:02x}{byte:02x}{byte:02x}" for byte in data),
    "rectangles": lambda data: "".join(
        f'<rect x="{n % 64}" y="{n // 64}" width="1" height="1" fill="rgb({byte},{byte},{byte})"/>'
        for n, byte in enumerate(data)
    ),
    "cells": lambda data: "".join(f'<td bgcolor="#{byte:02x}{byte:02x}{byte:02x}"></td>' for byte in data),
    "a table of hex": lambda data: (
        "| a | b |\n|---|---|\n"
        + "\n".join(f"| {one:02x} | {two:02x} |" for one, two in zip(data[::2], data[1::2], strict=True))
    ),
    "a list in YAML": lambda data: "\n".join(f"- {byte}" for byte in data),
    "records": lambda data: json.dumps([{"i": n, "v": f"{byte:02x}"} for n, byte in enumerate(data)]),
    "statements": lambda data: "\n".join(
        f"INSERT INTO t VALUES ({n}, {byte});" for n, byte in enumerate(data)
    ),
    "addresses": lambda data: "\n".join(f"https://example.com/p?x={byte}" for byte in data),
    "symbols": lambda data: "".join(chr(0x2800 + byte) + chr(0x2590 + byte % 16) for byte in data),
    "keys": lambda data: dict.fromkeys(textwrap.wrap(encoded(data), 20)),
    "keys of nested mappings": lambda data: [{key: {}} for key in textwrap.wrap(encoded(data), 16)],
    "cells of hex": lambda data: [f"{byte:02x}" for byte in data],
    "rows of hex": lambda data: [{"a": f"{byte:02x}", "i": n} for n, byte in enumerate(data)],
    "characters": lambda data: list(encoded(data)),
    "words in a list": lambda data: [" ".join(UNITS[int(digit)] for digit in f"{byte:03}") for byte in data],
    "ranges": lambda data: [range(byte) for byte in data],
    "bytes": lambda data: [data[place : place + 1] for place in range(len(data))],
    "shared lists": lambda data: [SHARED[byte] for byte in data],
    "dashes": lambda data: "-".join(f"{byte:02X}" for byte in data),
    "underscores": lambda data: "_".join(f"{byte:02x}" for byte in data),
    "sums": lambda data: "+".join(map(str, data)),
    "prices": lambda data: "\n".join(f"Item {n}: ${byte}.00" for n, byte in enumerate(data)),
    "offsets": lambda data: "\n".join(
        f"\t0x{start:04x}:  {data[start : start + 16].hex(' ', 2)}" for start in range(0, len(data), 16)
    ),
    "records of hex": lambda data: "\n".join(
        f":10{start:04X}00{data[start : start + 16].hex().upper()}5A" for start in range(0, len(data), 16)
    ),
    "Morse": lambda data: " ".join(MORSE[int(digit, 16)] for digit in data.hex()),
    "gaps": lambda data: [item for byte in data for item in (byte, None)],
}


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.slow(seconds=0.11)
@pytest.mark.parametrize("kind", THINNED)
def test_data_between_what_programs_repeat_are_refused(kind: str) -> None:
    assert find_media(THINNED[kind](NOISE)) is not None
    assert find_media(THINNED[kind](bytes(2_400))) is None, "zeros carry nothing"


def rows(number: int) -> list[list[Any]]:
    chance = random.Random(3)
    return [
        [
            row, f"2026-0{chance.randint(1, 9)}-{chance.randint(10, 28)}", chance.choice(["Berlin", "Paris", "Rome"]),
            round(chance.uniform(-20, 40), 1), chance.randint(0, 100), round(chance.gauss(1_013, 9), 1),
        ]
        for row in range(number)
    ]  # fmt: skip


def table(records: list[list[Any]], names: list[str]) -> str:
    file = io.StringIO()
    csv.writer(file).writerows([names, *records])
    return file.getvalue()


def log(lines: int) -> str:
    chance = random.Random(5)
    return "\n".join(
        f"2026-11-30T11:{chance.randint(0, 59):02}:{chance.randint(0, 59):02}.{chance.randint(0, 999):03}Z INFO "
        f"[http-{chance.randint(1, 20)}] GET /api/items/{uuid.UUID(int=chance.getrandbits(128))} 200 "
        f"{chance.randint(1, 900)}ms trace={chance.getrandbits(128):032x}"
        for _ in range(lines)
    )


def lock_file(packages: int) -> str:
    chance = random.Random(6)
    return json.dumps(
        {
            f"node_modules/package-{number}": {
                "version": f"{chance.randint(0, 9)}.{chance.randint(0, 20)}.0",
                "resolved": f"https://registry.npmjs.org/package-{number}/-/package-{number}.tgz",
                "integrity": f"sha512-{base64.b64encode(chance.randbytes(64)).decode()}",
            }
            for number in range(packages)
        },
        indent=2,
    )


def der(size: int) -> bytes:
    return b"\x30\x82" + (size - 4).to_bytes(2, "big") + CHANCE.randbytes(size - 4)


def pem(size: int) -> str:
    lines = "\n".join(textwrap.wrap(base64.b64encode(der(size)).decode(), 64))
    return f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"


LETTER = (
    "Sehr geehrte Frau Müller,\r\n\r\nanbei erhalten Sie die Unterlagen für den 3. Mai. Schöne Grüße\r\n" * 60
)
LANGUAGES = {
    "German": "Der schnelle braune Fuchs springt über den faulen Hund, während die Sonne langsam hinter den Bergen "
    "versinkt und die Bauern müde von ihren Feldern nach Hause kehren. ",
    "French": "Le vif renard brun saute par-dessus le chien paresseux, tandis que le soleil se couche derrière les "
    "montagnes et que les paysans rentrent fatigués de leurs champs. ",
    "Finnish": "Nopea ruskea kettu hyppää laiskan koiran yli, kun aurinko laskee hitaasti vuorten taakse ja "
    "maanviljelijät palaavat väsyneinä pelloiltaan kotiin. ",
    "Russian": "Быстрая коричневая лиса прыгает через ленивую собаку, пока солнце медленно садится за горы, а "
    "крестьяне усталые возвращаются с полей домой. ",
    "Greek": "Η γρήγορη καφέ αλεπού πηδά πάνω από το τεμπέλικο σκυλί, ενώ ο ήλιος δύει αργά πίσω από τα βουνά. ",
    "Arabic": "الثعلب البني السريع يقفز فوق الكلب الكسول بينما تغرب الشمس ببطء خلف الجبال ويعود الفلاحون متعبين. ",
    "Hindi": "तेज भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है, जबकि सूरज धीरे-धीरे पहाड़ों के पीछे डूबता है। ",
    "Thai": "สุนัขจิ้งจอกสีน้ำตาลว่องไวกระโดดข้ามสุนัขขี้เกียจในขณะที่ดวงอาทิตย์ค่อยๆลับขอบฟ้าหลังภูเขา",
    "Chinese": "北京是中华人民共和国的首都,位于华北平原的北部边缘,背靠燕山,永定河流经老城西南,毗邻天津市和河北省,"
    "是一座有着三千余年建城历史、八百六十余年建都史的历史文化名城。",
    "Japanese": "東京は日本の首都であり、世界でも有数の大都市である。江戸時代から続く文化と最新の技術が共存している。",
    "Korean": "서울은 대한민국의 수도이자 최대 도시이며, 한강을 끼고 발달하였다. 오랜 역사와 현대가 함께 숨쉬는 곳이다. ",
    "Vietnamese": "Con cáo nâu nhanh nhẹn nhảy qua con chó lười biếng khi mặt trời lặn dần sau những ngọn núi. ",
}


def prose(sentence: str) -> str:
    """Sentences of which no two are alike."""
    chance = random.Random(8)
    joint = " " if " " in sentence.strip() else ""
    words = sentence.split() if joint else textwrap.wrap(sentence, 4)
    return ". ".join(joint.join(chance.sample(words, len(words) * 2 // 3)) for _ in range(60))


def token(length: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(CHANCE.choices(alphabet, k=length))


def path(commands: int) -> str:
    sizes = {"m": 2, "l": 2, "c": 6, "s": 4, "h": 1}
    written = []
    for _ in range(commands):
        command = CHANCE.choice("mlcsh")
        numbers = [f"{CHANCE.uniform(-30, 30):.{CHANCE.randint(0, 3)}f}" for _ in range(sizes[command])]
        written.append(command + ",".join(numbers).replace(",-", "-").replace("0.", "."))
    return "".join(written)


REAL: dict[str, Any] = {
    "certificate bundle": Path(certifi.where()).read_text(encoding="utf-8")[:30_000].rpartition("\n\n")[0],
    "hashes of Go modules": "\n".join(f"github.com/a{n}/b v1.{n % 30}.0 h1:{encoded(CHANCE.randbytes(32))}" for n in range(900)),
    "lock file of many packages": lock_file(450),
    "hashes of wheels": "\n".join(f'    {{file = "a_{n}-1.0.whl", hash = "sha256:{CHANCE.getrandbits(256):064x}"}},' for n in range(600)),
    "checksums in Cargo": "\n".join(f'name = "crate-{n}"\nchecksum = "{CHANCE.getrandbits(256):064x}"\n' for n in range(400)),
    "ledger": json.dumps([{"from": f"0x{CHANCE.getrandbits(160):040x}", "hash": f"0x{CHANCE.getrandbits(256):064x}"} for _ in range(150)]),
    "keys of hosts": "\n".join(f"host-{n} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA{encoded(CHANCE.randbytes(33))}" for n in range(60)),
    "points": "POLYGON ((" + ", ".join(f"{CHANCE.uniform(5, 15)} {CHANCE.uniform(45, 55)}" for _ in range(1_500)) + "))",
    "track": "\n".join(f'<trkpt lat="{CHANCE.uniform(45, 55):.8f}" lon="{CHANCE.uniform(5, 15):.8f}"><time>12:{n % 60:02}:07Z</time></trkpt>' for n in range(700)),
    "path": f'<svg><path d="{path(600)}"/></svg>',
    "icons": "\n".join(f'<svg><path d="M{n % 24} 3{path(18)}z"/></svg>' for n in range(60)),
    "mesh": "\n".join(f"v {CHANCE.uniform(-1, 1):.6f} {CHANCE.uniform(-1, 1):.6f} {CHANCE.uniform(-1, 1):.6f}" for _ in range(900)),
    "machine": "\n".join(f"G1 X{CHANCE.uniform(0, 200):.3f} Y{CHANCE.uniform(0, 200):.3f} E{CHANCE.uniform(0, 9):.5f}" for _ in range(700)),
    "reads": "\n".join(f"@SRR1.{n} length=72\n{token(72, 'ACGT')}\n+\n{token(72, 'FGHI:,#')}" for n in range(150)),
    "source map": json.dumps({"version": 3, "mappings": ";".join(",".join(CHANCE.choice("ACEIS") + "A" + CHANCE.choice("AAAC") + CHANCE.choice("CDEGKOQSUYac") for _ in range(CHANCE.randint(1, 9))) for _ in range(150))}),
    "networks": "\n".join(".".join(str(CHANCE.randrange(256)) for _ in range(4)) for _ in range(1_200)),
    "devices": "\n".join(CHANCE.randbytes(6).hex(":") for _ in range(900)),
    "addresses of version 6": "\n".join(str(ipaddress.IPv6Address(CHANCE.getrandbits(128))) for _ in range(300)),
    "requests": "\n".join(f'{CHANCE.randrange(256)}.{CHANCE.randrange(256)}.3.4 - - [30/Nov/2026:10:{n % 60:02}:00 +0000] "GET /page-{n % 40} HTTP/1.1" 200 {CHANCE.randrange(90_000)}' for n in range(600)),
    "table of integers": table([[CHANCE.randrange(1_000) for _ in range(6)] for _ in range(1_200)], ["a", "b", "c", "d", "e", "f"]),
    "wide table": table([[CHANCE.randrange(51) for _ in range(30)] for _ in range(200)], [f"item{n}" for n in range(30)]),
    "answers": table([[n, *CHANCE.choices(["yes", "no", "unsure"], k=4)] for n in range(1_500)], ["id", "a", "b", "c", "d"]),
    "dice": [CHANCE.randint(1, 6) for _ in range(3_000)],
    "scores": [CHANCE.randint(0, 100) for _ in range(1_500)],
    "objects of an API": json.dumps([{"id": f"ch_{token(24)}", "customer": f"cus_{token(14)}", "amount": CHANCE.randrange(99_999), "paid": True} for _ in range(60)]),
    "links": "\n".join(f"https://video.example/watch?v={token(11)} A video about the number {n}" for n in range(200)),
    "commits in short": "\n".join(f"{CHANCE.getrandbits(28):07x} Correct what number {n} said about the house" for n in range(400)),
    "times": "\n".join(f"2026-{CHANCE.randint(1, 12):02}-{CHANCE.randint(1, 28):02}T{CHANCE.randrange(24):02}:{CHANCE.randrange(60):02}:{CHANCE.randrange(60):02}" for _ in range(1_500)),
    "mapping by UUID": {str(uuid.UUID(int=CHANCE.getrandbits(128))): {"n": n} for n in range(250)},
    "numbers by name": [{f"field_{n}": n for n in range(300)}] * 20,
    "cells of one digit": [[str(CHANCE.randrange(3)) for _ in range(9)] for _ in range(200)],
}  # fmt: skip

HARMLESS: dict[str, Any] = {
    **{f"prose in {language}": prose(sentence) for language, sentence in LANGUAGES.items()},
    "code": inspect.getsource(tree) + inspect.getsource(walk),
    "minified code": "".join(
        f"function f{n}(a,b){{return a[{n}]^b.x{n % 7}<<{n % 5}?g(a,b{n % 3}):null}}var v{n}=f{n - 1}(w,{n});"
        for n in range(400)
    ),
    "minified JSON": json.dumps(
        [{"id": n, "name": f"Item {n}", "tags": ["a", "b"], "price": n * 1.37, "at": f"2026-01-{n % 28 + 1:02}"} for n in range(500)],
        separators=(",", ":"),
    ),
    "table": table(rows(2_000), ["id", "day", "city", "temperature", "humidity", "pressure"]),
    "table of numbers": table([[row[0], *row[3:]] for row in rows(2_000)], ["id", "temperature", "humidity", "pressure"]),
    "table of ages": table([[CHANCE.randint(18, 90), CHANCE.randint(1, 5)] for _ in range(2_000)], ["age", "stars"]),
    "records": [dict(zip(["id", "day", "city", "t", "h", "p"], row, strict=True)) for row in rows(800)],
    "columns": {"price": [round(row[5], 2) for row in rows(1_000)], "day": [row[1] for row in rows(1_000)]},
    "log": log(1_000),
    "lock file": lock_file(120),
    "commits": "\n".join(f"{CHANCE.getrandbits(160):040x}" for _ in range(500)),
    "digests of files": "\n".join(f"{hashlib.sha256(bytes([n])).hexdigest()}  src/file_{n}.py" for n in range(250)),
    "UUIDs": [str(uuid.UUID(int=CHANCE.getrandbits(128))) for _ in range(500)],
    "certificate chain": pem(1_900) + pem(1_700) + pem(1_400),
    "certificate without armour": base64.b64encode(der(3_000)).decode(),
    "signed mail": "Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(der(4_500)).decode().replace("\n", ""),
    "mail in Base64": base64.encodebytes(LETTER.encode()).decode(),
    "mail in Latin-1 and Base64": base64.encodebytes(LETTER.encode("latin-1")).decode(),
    "command in UTF-16 and Base64": base64.b64encode(("Get-ChildItem -Recurse; " * 300).encode("utf-16-le")).decode(),
    "quoted-printable mail": "".join(f"={byte:02X}" if byte > 126 else chr(byte) for byte in LETTER.encode()),
    "DNA": "".join(CHANCE.choice("ACGT") for _ in range(30_000)),
    "DNA in lines": "\n".join("".join(CHANCE.choice("acgt") for _ in range(60)) for _ in range(300)),
    "protein": "\n".join("".join(CHANCE.choice("ACDEFGHIKLMNPQRSTVWY") for _ in range(60)) for _ in range(80)),
    "hex colours": ", ".join(f"#{CHANCE.getrandbits(24):06x}" for _ in range(1_000)),
    "style sheet": "\n".join(f".c{n}{{color:#{CHANCE.getrandbits(24):06x};margin:{n % 9}px}}" for n in range(800)),
    "embedding": [CHANCE.gauss(0, 0.03) for _ in range(3_072)],
    "embeddings of three documents": [[CHANCE.gauss(0, 0.03) for _ in range(1_536)] for _ in range(3)],
    "embedding as text": json.dumps([round(CHANCE.gauss(0, 0.03), 8) for _ in range(3_072)]),
    "coordinates": json.dumps([[round(CHANCE.uniform(5, 15), 6), round(CHANCE.uniform(45, 55), 6)] for _ in range(2_000)]),
    "token ids": [CHANCE.randrange(100_000) for _ in range(4_000)],
    "labels": [CHANCE.randrange(2) for _ in range(4_000)],
    "counts": [number % 24 for number in range(4_000)],
    "tool schema": {
        f"field_{number}": {"type": "string", "description": f"The value of field {number}, if any", "enum": ["a", "b"]}
        for number in range(400)
    },
    "URLs": "\n".join(f"https://example.com/shop/item-{n}?ref=mail&utm_id={CHANCE.getrandbits(40):x}" for n in range(400)),
    "diff": "\n".join(f"{'+-'[n % 2]}    value_{n} = compute(a={n}, b='text {n * 7 % 13}')" for n in range(800)),
    "stack trace": "\n".join(f'  File "/usr/lib/app/module_{n % 40}.py", line {n}, in f_{n % 9}' for n in range(500)),
    "Markdown table": "\n".join(f"| {row[0]} | {row[2]} | {row[3]} | {row[4]} |" for row in rows(900)),
    "box drawing": ("┌" + "─" * 60 + "┐\n│" + " " * 60 + "│\n") * 200,
    "geodata": json.dumps({"features": [{"name": f"area {n}", "at": [[CHANCE.uniform(5, 15), CHANCE.uniform(45, 55)] for _ in range(100)]} for n in range(8)]}),
    "public keys": "\n".join(f"ssh-rsa AAAAB3NzaC1yc2E{base64.b64encode(CHANCE.randbytes(519)).decode()} me@host-{n}" for n in range(8)),
    "addresses of accounts": "\n".join(f"0x{CHANCE.getrandbits(160):040x}" for _ in range(500)),
    "rulers": "=" * 9_000 + "-" * 9_000,
    **REAL,
}  # fmt: skip


@pytest.mark.slow(seconds=0.15)
@pytest.mark.parametrize("kind", HARMLESS)
def test_harmless_texts_and_numbers_are_admitted(kind: str) -> None:
    thing = HARMLESS[kind]
    assert find_media(thing) is None
    message = (
        HumanMessage(thing) if isinstance(thing, str) else ToolMessage("x", tool_call_id="1", artifact=thing)
    )
    assert plan_messages([message], STRICT).sources == ()


@pytest.mark.slow(seconds=1)
def test_the_volume_of_harmless_texts_is_far_from_the_budget() -> None:
    texts = {kind: text for kind, text in HARMLESS.items() if isinstance(text, str) and "Base64" not in kind}
    close = {
        kind: round(text_volume(text)) for kind, text in texts.items() if text_volume(text) > BUDGET * 0.7
    }
    assert close.keys() <= {"commits", "signed mail", "certificate without armour"}


def test_numbers_below_the_budget_pass_and_above_it_do_not() -> None:
    data = list(CHANCE.randbytes(2 * BUDGET))
    assert numbers_volume(data[: BUDGET - 64]) < BUDGET <= numbers_volume(data[: BUDGET + 64])
    assert not holds_pixels(json.dumps(data[: BUDGET - 64]))
    assert holds_pixels(json.dumps(data[: BUDGET + 64]))
