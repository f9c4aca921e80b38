"""Known forms of data, such as digests and certificates, which look like noise and are no pictures.

They are taken out of a text before its volume is measured, and count a small share of their size: a sixteenth, and a
certificate that is one by its structure 1/256. Among other text, as in a log or a lock file, they count nothing.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

_WEIGHT: Final = 1 / 16
_CERTIFICATE_WEIGHT: Final = 1 / 256
_LONGEST_CERTIFICATE: Final = 8_192
# Known forms count where the rest of the text is less than this share.
_FEW_OTHERS: Final = 1 / 4

_BODY: Final = r"[A-Za-z0-9+/=\s\\:,.()]"
_HEX: Final = "[0-9a-fA-F]"
_OCTET: Final = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_ARMOURED: Final = re.compile(
    rf"-----BEGIN [A-Z0-9 ]{{1,40}}+-----((?:{_BODY}|-(?!-)){{1,60000}}+)-----END [A-Z0-9 ]{{1,40}}+-----"
)
_DIGEST: Final = re.compile(
    rf"(?<![0-9A-Za-z+/])(?:0x)?(?:{_HEX}{{128}}|{_HEX}{{96}}|{_HEX}{{64}}|{_HEX}{{56}}|{_HEX}{{40}}|{_HEX}{{32}})(?![0-9A-Za-z+/])"
    rf"|(?<![0-9A-Za-z]){_HEX}{{8}}-(?:{_HEX}{{4}}-){{3}}{_HEX}{{12}}(?![0-9A-Za-z])"
    r"|(?<![0-9A-Za-z+/])(?:[A-Za-z0-9+/]{86}==|[A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{27}=|[A-Za-z0-9+/]{22}==)(?!=)"
    rf"|(?i:fingerprint|md5|sha-?\d{{1,3}})[:=( ]{{1,3}}{_HEX}{{2}}(?::{_HEX}{{2}}){{15,31}}(?![\w:])"
    r"|sha384-[A-Za-z0-9+/]{64}(?![A-Za-z0-9+/])"
    r"|(?<![A-Za-z0-9+/])AAAA(?:B3NzaC1|C3NzaC1|E2VjZHNh)[A-Za-z0-9+/]{48,1400}={0,2}"  # public keys of SSH
)
_ADDRESS: Final = re.compile(
    rf"(?<![\w.:-]){_HEX}{{2}}(?:[:-]{_HEX}{{2}}){{5}}(?:(?:[:-]{_HEX}{{2}}){{2}})?(?![\w.:-])"  # MAC, EUI-64
    rf"|(?<![\w.])(?:{_OCTET}\.){{3}}{_OCTET}(?![\w.])"
    rf"|(?<![\w.:])(?:{_HEX}{{1,4}}:){{7}}{_HEX}{{1,4}}(?![\w.:])"
    rf"|(?<![\w.:])(?:{_HEX}{{1,4}}:){{1,6}}(?::{_HEX}{{1,4}}){{1,6}}(?![\w.:])"
)
_SEQUENCE: Final = re.compile(
    r"(?<![A-Za-z])(?:[ACGTUN]{20,}+|[acgtun]{20,}+|[AC-IK-NP-TVWXY*]{24,}+)(?![A-Za-z0-9])"
)
_READ: Final = re.compile(
    r"(?m)^([ACGTN]{20,500}+)\n\+[^\n]{0,200}+\n([!-~]{20,500}+)$"
)  # of FASTQ, with its quality
_DER: Final = re.compile(r"(?<![A-Za-z0-9+/])MI[I-L][A-Za-z0-9+/]{200,}+={0,2}")


def without_armour(text: str) -> tuple[str, float]:
    """Take certificates, keys and other armoured blocks out of a text, and return the bytes for which they count."""
    if "-----BEGIN " not in text:
        return text, 0.0
    taken = _Taken()
    return _ARMOURED.sub(taken.armoured, text), taken.bytes


def without_known_forms(text: str) -> tuple[str, float]:
    """Take all known forms of data out of a text, and return the bytes for which they count."""
    bare, armoured = without_armour(text)
    taken = _Taken()
    rest = _READ.sub(taken.read, bare) if "\n+" in bare else bare
    rest = _SEQUENCE.sub(taken.sequence, _DIGEST.sub(taken.digest, rest))
    if ":" in rest or "." in rest or "-" in rest:
        rest = _ADDRESS.sub(taken.address, rest)
    if "MI" in rest:
        rest = _DER.sub(taken.der, rest)
    return rest, armoured + (taken.bytes if len(rest) < len(bare) * _FEW_OTHERS else 0.0)


class _Taken:
    """Functions that replace matches of known forms by a space, and sum the bytes for which they count."""

    def __init__(self) -> None:
        self.bytes = 0.0

    def armoured(self, match: re.Match[str]) -> str:
        size = len(match.group(1)) * 3 // 4
        self.bytes += size * (_CERTIFICATE_WEIGHT if _is_certificate(match.group(1)) else _WEIGHT)
        return " "

    def digest(self, match: re.Match[str]) -> str:
        self.bytes += len(match.group()) * (0.5 if match.group().isalnum() else 0.75) * _WEIGHT
        return " "

    def address(self, match: re.Match[str]) -> str:
        self.bytes += (4 if "." in match.group() else len(match.group()) * 0.4) * _WEIGHT
        return " "

    def sequence(self, match: re.Match[str]) -> str:
        self.bytes += len(match.group()) * (0.25 if len(set(match.group())) <= 5 else 0.54) * _WEIGHT
        return " "

    def read(self, match: re.Match[str]) -> str:
        letters, quality = match.groups()
        if len(letters) != len(quality):
            return match.group()
        self.bytes += len(letters) * _WEIGHT
        return " "

    def der(self, match: re.Match[str]) -> str:
        size = len(match.group()) * 3 // 4
        if not _is_der(match.group(), size):
            return match.group()
        self.bytes += size * _WEIGHT
        return " "


def _is_der(encoded: str, size: int) -> bool:
    """Say whether base64 begins with the header of a DER sequence that is as long as all of it."""
    try:
        header = base64.b64decode(encoded[:8])
    except binascii.Error:
        return False
    return header[:2] == b"\x30\x82" and abs(int.from_bytes(header[2:4], "big") + 4 - size) <= 3


def _is_certificate(encoded: str) -> bool:
    """Say whether base64 is a certificate: a signed sequence, its algorithm, and a signature up to the end."""
    try:
        data = base64.b64decode("".join(encoded.split()), validate=True)
    except ValueError:
        return False
    if data[:2] != b"\x30\x82" or len(data) > _LONGEST_CERTIFICATE or data[4:6] != b"\x30\x82":
        return False
    signed = 8 + int.from_bytes(data[6:8], "big")
    algorithm = data[signed : signed + 2]
    signature = signed + 2 + (algorithm[1] if len(algorithm) == 2 else 0)
    header = data[signature : signature + 4]
    length = int.from_bytes(header[2:4], "big") + 4 if header[1:2] == b"\x82" else sum(header[1:2]) + 2
    return (
        algorithm[:1] == b"\x30"
        and header[:1] == b"\x03"
        and signature + length == len(data)
        and data[signed + 2 : signed + 3] == b"\x06"
        and b"\x06\x03\x55\x04" in data[8:signed]  # the parts of a name
    )
