"""Known forms of data count little, if they are what they look like, and nothing among other text."""

from __future__ import annotations

import base64
import random
import ssl
import textwrap
from pathlib import Path

import certifi
import pytest

from langchain_vpp.messages.known_forms import without_armour, without_known_forms

CHANCE = random.Random(31)
BUNDLE = Path(certifi.where()).read_text(encoding="utf-8")
FIRST = BUNDLE[BUNDLE.index("-----BEGIN") : BUNDLE.index("-----END CERTIFICATE-----") + 25]
DER = ssl.PEM_cert_to_DER_cert(FIRST)


def armoured(data: bytes) -> str:
    lines = "\n".join(textwrap.wrap(base64.b64encode(data).decode(), 64))
    return f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----"


@pytest.mark.parametrize(
    "data",
    [
        CHANCE.randbytes(len(DER)),
        DER[:4] + CHANCE.randbytes(len(DER) - 4),
        DER[:40] + CHANCE.randbytes(len(DER) - 40),
        DER + CHANCE.randbytes(300),
        DER[:-300],
        b"\x30\x82\xff\xff" + DER[4:] + CHANCE.randbytes(20_000),
    ],
    ids=["noise", "its first header", "the header of what is signed", "longer", "shorter", "large"],
)
def test_what_is_no_certificate_by_its_structure_counts_more(data: bytes) -> None:
    assert without_armour(armoured(DER))[1] < len(DER) / 200
    assert without_armour(armoured(data))[1] > len(data) / 20


def test_digests_count_where_little_else_stands() -> None:
    digests = [f"{CHANCE.getrandbits(256):064x}" for _ in range(100)]
    rest, known = without_known_forms("\n".join(digests))
    assert rest.split() == []
    assert known == pytest.approx(100 * 32 / 16)
    assert without_known_forms("\n".join(f"{each}  of the file that was sent" for each in digests))[1] == 0


def test_reads_need_as_many_marks_of_quality_as_letters() -> None:
    letters, quality = "ACGT" * 15, "F:,#" * 15
    rest, _ = without_known_forms(f"@1\n{letters}\n+\n{quality}\n" * 2)
    assert quality not in rest
    rest, _ = without_known_forms(f"@1\n{letters}\n+\n{quality}!!\n" * 2)
    assert quality in rest


@pytest.mark.parametrize("text", ["10.0.0.256", "89:50:4e:47:0d", "89:50:4e:47:0d:0a:1a", "1.2.3.4.5"])
def test_what_is_no_address_stays(text: str) -> None:
    assert without_known_forms(text)[0] == text
