"""Sealed pictures and their handles."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.stores import InMemoryByteStore

from langchain_vpp import ImageProtector, ProtectionError
from langchain_vpp.engines import Pixelate
from langchain_vpp.testing import assert_no_leak
from tests.unit.langchain_vpp.guard.samples import PICTURE, human, sent_pictures


def test_a_sealed_handle_is_resolved_and_says_nothing_about_the_picture() -> None:
    store = InMemoryByteStore()
    protector = ImageProtector(Pixelate(), store=store)
    block = protector.seal(PICTURE)
    assert block == protector.seal(PICTURE) == asyncio.run(protector.aseal(PICTURE))
    assert block["url"].startswith("vpp://")
    assert hashlib.sha256(PICTURE).hexdigest() not in block["url"]
    # Another protector has another key, and resolves the handle all the same.
    other = ImageProtector(Pixelate(), store=store)
    assert other.seal(PICTURE) != block
    expected = sent_pictures(protector.protect_messages(human(PICTURE)))
    for one in (protector, other):
        assert sent_pictures(one.protect_messages([HumanMessage([block])])) == expected
    assert_no_leak(PICTURE, protector.protect_messages([HumanMessage([block])]), block)


@pytest.mark.parametrize(
    "url", ["vpp://", "vpp://" + "0" * 64, "vpp://../../etc/passwd", "vpp://" + "G" * 64]
)
def test_an_unknown_or_malformed_handle_is_refused(url: str) -> None:
    protector = ImageProtector(Pixelate(), store=InMemoryByteStore())
    with pytest.raises(ProtectionError, match="handle"):
        protector.protect_messages([HumanMessage([{"type": "image", "url": url}])])


def test_sealing_needs_a_store_and_a_picture() -> None:
    with pytest.raises(ProtectionError, match="store"):
        ImageProtector(Pixelate()).seal(PICTURE)
    with pytest.raises(ProtectionError, match="store"):
        ImageProtector(Pixelate()).protect_messages(
            [HumanMessage([{"type": "image", "url": "vpp://" + "0" * 64}])]
        )
    with pytest.raises(ProtectionError):
        ImageProtector(Pixelate(), store=InMemoryByteStore()).seal(b"no picture")


def test_a_failing_store_stops_the_request_without_content() -> None:
    class Failing(InMemoryByteStore):
        def mset(self, key_value_pairs: Any) -> None:
            raise OSError(key_value_pairs)

    with pytest.raises(ProtectionError, match="store") as caught:
        ImageProtector(Pixelate(), store=Failing()).seal(PICTURE)
    assert_no_leak(PICTURE, caught.value)
