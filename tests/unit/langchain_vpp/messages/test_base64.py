"""Base64 that is read and written by our own rules."""

from __future__ import annotations

import base64
import binascii
import random
from urllib.parse import quote_from_bytes, unquote_to_bytes

import pytest

from langchain_vpp.images.pace import PIECE
from langchain_vpp.messages import base64 as codec


@pytest.mark.parametrize(
    "payload",
    [
        "", "QUJD", "QUI=", "QUI", "QQ==", "QQ", "QUJ=", "QR==", "QUJD\n", "QU JD", "Q-_D", "QUJD=", "QUI=QUI=",
        "QUJDQQ==QUJD", "====", "QUJD====", "Q", "QUJé", "QU=D", "QUJD!", "QUJD" * 50_000, "QUJD" * 50_000 + "Q",
    ],
    ids=lambda payload: payload[:14],
)  # fmt: skip
def test_base64_means_the_same_with_and_without_the_fast_codec(
    payload: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pybase64")
    fast = codec.decode_base64(payload)
    monkeypatch.setattr(codec, "fast_module", lambda _: None)
    assert codec.decode_base64(payload) == fast
    if fast is not None:
        encoded = codec.encode_base64(fast)
        monkeypatch.undo()
        assert codec.encode_base64(fast) == encoded


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("missing", range(4))
@pytest.mark.parametrize("columns", [0, 5, 76, 131_071])
def test_what_is_longer_than_a_piece_is_decoded_whole(
    columns: int, missing: int, monkeypatch: pytest.MonkeyPatch, *, fast: bool
) -> None:
    if not fast:
        monkeypatch.setattr(codec, "fast_module", lambda _: None)
    data = random.Random(missing).randbytes(3 * PIECE - missing)
    payload = base64.urlsafe_b64encode(data).decode().rstrip("=")
    if columns:
        payload = "\r\n".join(payload[at : at + columns] for at in range(0, len(payload), columns))
    head = "data:image/png;base64,"
    assert codec.decode_base64(head + payload, len(head)) == data
    assert codec.decode_base64(codec.encode_base64(data)) == data


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("at", [PIECE - 2, PIECE - 1, PIECE, PIECE + 2])
@pytest.mark.parametrize("junk", ["=", "==", "!", "é"])
def test_what_a_strict_decoder_refuses_is_refused_at_the_end_of_a_piece_too(
    junk: str, at: int, monkeypatch: pytest.MonkeyPatch, *, fast: bool
) -> None:
    if not fast:
        monkeypatch.setattr(codec, "fast_module", lambda _: None)
    payload = "QUJD" * PIECE
    payload = payload[:at] + junk + payload[at + len(junk) :]
    with pytest.raises(ValueError, match=r"\S"):
        binascii.a2b_base64(payload, strict_mode=True)
    assert codec.decode_base64(payload) is None


@pytest.mark.parametrize("shift", range(4))
def test_no_escape_is_cut_at_the_end_of_a_piece(shift: int) -> None:
    data = random.Random(0).randbytes(PIECE)
    text = "x" * shift + quote_from_bytes(data, safe="")
    assert codec.decode_percent(f"data:,{text}", 6) == unquote_to_bytes(text)
