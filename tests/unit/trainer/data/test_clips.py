"""Videos of a data set: sampled as the runtime does, held where they are short, and refused with the reason."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from langchain_vpp.errors import DataError
from langchain_vpp.images.video import sample_video
from tests.films import gray_film, sound
from tests.unit.trainer.data.data_folder import TASK, write
from trainer.data.clips import open_clip
from trainer.data.dataset import load_dataset
from trainer.data.inspection import inspect_data
from trainer.data.wire import arrived, encode


def line(video: str, split: str = "train", gender: str = "f") -> dict:
    return {"video": video, "split": split, "tasks": [TASK], "private": {"gender": gender}}


LINES = [line("long.mp4"), line("short.mp4", gender="m"), line("val.mp4", "val"), line("test.mp4", "test")]


@pytest.fixture(scope="module")
def videos():
    lengths = {"long": 50, "short": 20, "val": 30, "test": 40}
    return {f"{name}.mp4": gray_film(count, (16, 8)) for name, count in lengths.items()}


@pytest.fixture
def folder(tmp_path, videos):
    for name, data in videos.items():
        (tmp_path / name).write_bytes(data)
    write(tmp_path, LINES)
    return tmp_path


def test_frames_are_those_that_the_runtime_sends(folder, videos):
    dataset = load_dataset(folder)
    assert dataset.has_clips
    frames = dataset.open_frames(dataset.examples[0])
    sent = sample_video(videos["long.mp4"])
    assert [np.asarray(each).tobytes() for each in frames] == [
        np.asarray(each.image).tobytes() for each in sent
    ]
    assert len(frames) == 5
    assert dataset.open_frames(dataset.examples[0]) is frames  # decoded once
    some = open_clip(folder / "long.mp4", most_frames=2)
    assert [np.asarray(each).tobytes() for each in some] == [
        np.asarray(sent[at].image).tobytes() for at in (0, 2)
    ]


def test_a_short_clip_holds_its_last_frame(folder):
    dataset = load_dataset(folder)
    pixels = dataset.pixels(dataset.split("train"), 16)
    assert pixels.shape == (2, 5, 3, 8, 16)
    long, short = pixels.float().mean(dim=(2, 3, 4))
    assert (long.diff() > 10).all()
    assert short[1] > short[0] + 10
    assert torch.equal(short[1:], short[1].expand(4))


def test_an_image_among_videos_is_a_clip_of_one_frame(folder):
    Image.new("RGB", (16, 8), (200, 0, 0)).save(folder / "1.png")
    image = {"image": "1.png"} | {name: value for name, value in line("", "val").items() if name != "video"}
    write(folder, [*LINES, image])
    dataset = load_dataset(folder)
    pixels = dataset.pixels(dataset.split("val"), 16)
    assert pixels.shape == (2, 3, 3, 8, 16)
    assert (pixels[1, :, 0] == 200).all()
    assert not pixels[1, :, 1:].any()


def test_a_missing_label_is_unknown(folder):
    lines = [*LINES, {**line("more.mp4"), "private": {}}]
    (folder / "more.mp4").write_bytes(gray_film(10, (16, 8), rate=5))
    write(folder, lines)
    dataset = load_dataset(folder)
    assert dataset.labels(dataset.split("train")).flatten().tolist() == [0, 1, -1]


def test_clips_are_encoded_frame_by_frame():
    clips = torch.rand(2, 3, 3, 8, 16)
    encoded, sent = encode(clips)
    alone = encode(clips[1])[1]
    assert torch.equal(sent[1], alone)
    assert torch.equal(arrived(encoded[1]), alone)
    assert encode(clips[:, :1])[1].shape == (2, 1, 3, 8, 16)


BROKEN = {
    "corrupt": (lambda good: good[:40] + bytes(len(good) - 40), "damaged"),
    "cut off": (lambda good: good[: len(good) // 3], "damaged"),
    "of zero length": (lambda _: b"", "it is empty"),
    "audio only": (lambda _: sound(), "only sound"),
    "a picture": (lambda _: b"\xff\xd8\xff\xe0" + bytes(64), "format that can't be read"),
    "of a codec that is missing": (lambda good: good.replace(b"avc1", b"zzz1"), "can't be read|no pictures"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_the_check_names_every_video_that_can_not_be_used(folder, videos, case):
    spoil, reason = BROKEN[case]
    (folder / "short.mp4").write_bytes(spoil(videos["short.mp4"]))
    faults = [fault for fault in inspect_data(folder).faults if fault.line == 2]
    assert len(faults) == 1
    assert "short.mp4" in faults[0].what
    with pytest.raises(DataError, match=reason) as caught:
        open_clip(folder / "short.mp4")
    assert caught.value.__cause__ is caught.value.__context__ is None


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"video": "none.mp4"}, "line 1: there is no video 'none.mp4'"),
        ({"video": "../x.mp4"}, "line 1: the video lies outside"),
        ({"video": 7}, "line 1: video: "),
        ({"video": ""}, "line 1: video: "),
        ({"video": "long.mp4", "image": "1.png"}, "line 1: video: Extra"),
        ({"video": "long.mp4", "is_video": False}, "line 1: "),
    ],
)
def test_a_bad_line_about_a_video_is_refused(folder, fields, match):
    write(folder, [json.dumps(LINES[0] | fields), *LINES[1:]])
    with pytest.raises(DataError, match=match):
        load_dataset(folder)
