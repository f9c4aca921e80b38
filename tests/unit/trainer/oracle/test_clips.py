"""Several frames are one query: one digest, one row of the ledger, and one message."""

from __future__ import annotations

import base64

import pytest

from trainer.oracle.clips import is_clip, pack, unpack
from trainer.oracle.message import as_message
from trainer.oracle.query import Query

FRAMES = (b"first", b"", b"third and last")


@pytest.mark.parametrize("frames", [FRAMES, FRAMES[:1], ()])
def test_frames_come_out_as_they_went_in(frames):
    assert is_clip(pack(frames))
    assert unpack(pack(frames)) == frames


def test_a_picture_is_no_clip():
    assert not is_clip(b"\xff\xd8picture")
    assert unpack(b"\xff\xd8picture") == (b"\xff\xd8picture",)


@pytest.mark.parametrize("cut", [1, 3, len(FRAMES[-1]), len(FRAMES[-1]) + 2])
def test_a_clip_that_is_cut_off_is_refused(cut):
    with pytest.raises(ValueError, match="cut off"):
        unpack(pack(FRAMES)[:-cut])


def test_a_clip_is_sent_as_the_runtime_sends_a_video():
    message = as_message(Query(pack(FRAMES), "What happens?", ("this", "that")))
    question, heading, *images = message.content
    assert question["text"].startswith("What happens?")
    assert heading == {"type": "text", "text": "A video, shown by 3 of its frames in their order:"}
    assert [base64.b64decode(image["base64"]) for image in images] == list(FRAMES)


def test_the_order_of_frames_makes_another_query():
    assert Query(pack(FRAMES), "?").image_digest != Query(pack(FRAMES[::-1]), "?").image_digest
