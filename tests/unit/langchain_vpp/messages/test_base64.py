"""Base64 that is read and written by our own rules."""

from __future__ import annotations

import pytest

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


@pytest.mark.parametrize(
    ("payload", "is_url", "data"),
    [
        ("QUJD", False, b"ABC"),
        (" QUI\n", False, b"AB"),
        ("data:image/png;base64,QUJD", True, b"ABC"),
        (" DATA:image/png;charset=x;BASE64,QU%4aD ", True, b"ABC"),
        ("data:image/png,%89PNG", True, b"\x89PNG"),
        ("data:,\ud800", True, b"\xed\xa0\x80"),
        ("data:;base64,\ud800%", True, None),
        ("data:image/png;base64", True, None),
        ("data:image/png;base64,QUJD!", True, None),
        ("https://images.example/a.png", False, None),
        ("\ud800", False, None),
    ],
)
def test_a_payload_is_opened_or_not_at_all(payload: str, is_url: bool, data: bytes | None) -> None:  # noqa: FBT001
    assert codec.opened(payload) == (is_url, data)
