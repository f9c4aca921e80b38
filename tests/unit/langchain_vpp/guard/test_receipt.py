"""Receipts."""

from __future__ import annotations

import hashlib

from langchain_vpp import ImageProtector
from langchain_vpp.engines import Pixelate
from tests.unit.langchain_vpp.guard.samples import OTHER, PICTURE, Counting, human, sent_pictures


def test_the_receipt_names_what_was_sent_and_not_the_original() -> None:
    protector = ImageProtector(Pixelate(), level=0.7)
    messages, receipt = protector.admit(human(PICTURE, OTHER))
    metadata = receipt.as_metadata()
    assert [image["sha256"] for image in metadata["images"]] == [
        hashlib.sha256(data).hexdigest() for data in sent_pictures(messages)
    ]
    assert {image["level"] for image in metadata["images"]} == {0.7}
    assert all(image["ms"] > 0 for image in metadata["images"])
    assert (metadata["engine"], metadata["artifact"]) == ("pixelate", Pixelate().digest)
    assert hashlib.sha256(PICTURE).hexdigest() not in str(metadata)


def test_the_receipt_names_the_originals_digest_if_told_to() -> None:
    protector = ImageProtector(Counting(), receipt_original_digest=True)
    metadata = protector.admit(human(PICTURE)).receipt.as_metadata()
    assert metadata["images"][0]["original_sha256"] == hashlib.sha256(PICTURE).hexdigest()
    assert (metadata["engine"], metadata["artifact"]) == ("Counting", None)


def test_a_receipt_of_pictures_that_were_protected_before_is_complete() -> None:
    protector = ImageProtector(Pixelate(), level=0.7)
    once, first = protector.admit(human(PICTURE))
    assert protector.admit(once).receipt == first
