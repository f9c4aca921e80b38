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
