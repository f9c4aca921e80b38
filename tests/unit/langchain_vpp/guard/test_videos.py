"""Videos in messages, of every dialect: frames of them leave, protected, and nothing else of the file."""

from __future__ import annotations

import base64
import hashlib
import io
from itertools import pairwise

import numpy as np
import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from PIL import Image

pytest.importorskip("av")

from langchain_vpp import ImageProtector, ProtectionError
from langchain_vpp.engines import Pixelate
from langchain_vpp.engines.engine import Judged
from langchain_vpp.guard.budget import RequestBudget
from tests.films import film, gray_film

FILM = gray_film(30)
B64 = base64.b64encode(FILM).decode()
URL = f"data:video/mp4;base64,{B64}"
BLOCKS = {
    "LangChain v1": {"type": "video", "base64": B64, "mime_type": "video/mp4"},
    "LangChain v0": {"type": "video", "source_type": "base64", "data": B64, "mime_type": "video/mp4"},
    "a file": {"type": "file", "base64": B64, "mime_type": "video/mp4"},
    "a file without a type": {"type": "file", "base64": B64},
    "OpenAI's file": {"type": "file", "file": {"filename": "a.mp4", "file_data": URL}},
    "vLLM and OpenRouter": {"type": "video_url", "video_url": {"url": URL}},
    "OpenRouter in camel case": {"type": "video_url", "videoUrl": {"url": URL}},
    "Gemini's media": {"type": "media", "mime_type": "video/mp4", "data": FILM},
    "Gemini's inline data": {"inline_data": {"mime_type": "video/mp4", "data": B64}},
    "Bedrock": {"video": {"format": "mp4", "source": {"bytes": FILM}}},
    "Bedrock with a type": {"type": "video", "video": {"format": "mp4", "source": {"bytes": FILM}}},
    "a picture that is none": {"type": "image", "base64": B64, "mime_type": "image/png"},
}


def protector(**options) -> ImageProtector:
    return ImageProtector(Pixelate(), level=0.5, **{"on_video": "sample", **options})


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_frames_take_the_place_of_a_video(block) -> None:
    (message,) = protector().protect_messages([HumanMessage([block, {"type": "text", "text": "Who is it?"}])])
    heading, *frames, question = message.content
    assert heading == {"type": "text", "text": "A video, shown by 3 of its frames in their order:"}
    assert {(frame["type"], frame["mime_type"]) for frame in frames} == {("image", "image/jpeg")}
    assert question["text"] == "Who is it?"
    assert B64[:400] not in str(message)
    grays = [np.asarray(Image.open(io.BytesIO(base64.b64decode(each["base64"])))).mean() for each in frames]
    assert all(30 < after - before < 50 for before, after in pairwise(grays))


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_a_video_is_refused_unless_its_frames_are_wanted(block) -> None:
    with pytest.raises(ProtectionError, match="on_video"):
        ImageProtector(Pixelate()).protect_messages([HumanMessage([block])])


@pytest.mark.parametrize(
    "block",
    [
        {"type": "video", "url": "https://a.example/film.mp4"},
        {"type": "video", "file_id": "file-1"},
        {"type": "video", "video": ["https://a.example/1.jpg"]},
        {"video": {"format": "mp4", "source": {"s3Location": {"uri": "s3://b/a.mp4"}}}},
        {"type": "audio", "base64": B64, "mime_type": "audio/mp4"},
        {"type": "video", "base64": base64.b64encode(b"secret" * 20).decode(), "mime_type": "video/mp4"},
        {"type": "video", "base64": B64, "data": B64},
    ],
)
def test_what_is_no_video_with_its_bytes_is_refused(block) -> None:
    with pytest.raises(ProtectionError) as caught:
        protector(on_remote_url="fetch").protect_messages([HumanMessage([block])])
    assert "secret" not in str(caught.value)
    assert "example" not in str(caught.value)


def test_a_second_turn_sends_the_same_frames_and_decodes_nothing() -> None:
    guard = protector()
    (first,) = guard.protect_messages([HumanMessage([BLOCKS["LangChain v1"]])])
    again, with_frames = guard.protect_messages([HumanMessage([BLOCKS["LangChain v1"]]), first])
    assert again.content == first.content == with_frames.content


def test_frames_count_as_pictures_of_the_budget() -> None:
    few = protector(budget=RequestBudget(pictures=2))
    (message,) = few.protect_messages([HumanMessage([BLOCKS["LangChain v1"]])])
    assert len(message.content) == 3  # the heading, and as many frames as there may be pictures
    others = [{**BLOCKS["Gemini's media"], "data": gray_film(10 + number)} for number in range(3)]
    with pytest.raises(ProtectionError, match="pictures"):
        few.protect_messages([HumanMessage([BLOCKS["LangChain v1"], *others])])


def test_a_video_in_the_result_of_a_tool_and_in_a_nest() -> None:
    tool = ToolMessage([BLOCKS["LangChain v1"]], tool_call_id="1")
    nest = {"type": "tool_result", "tool_use_id": "1", "content": [BLOCKS["LangChain v1"]]}
    for message in protector().protect_messages([tool, HumanMessage([nest])]):
        content = message.content[0].get("content", message.content)
        assert [block["type"] for block in content] == ["text", "image", "image", "image"]


class _Forgetful:
    """Covers the upper left of every picture but of those that are darker."""

    def protect(self, image, level):
        covered = image.copy()
        if image.getpixel((image.width - 1, image.height - 1))[0] > 100:
            covered.paste((128, 128, 128), (0, 0, image.width // 2, image.height // 2))
        return covered


def test_what_one_frame_covers_is_covered_in_the_next() -> None:
    rng = np.random.default_rng(0)
    secret = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    frames = []
    for light in (200, 90, 200, 90):
        frame = np.full((96, 128, 3), light, np.uint8)
        frame[:48, :64] = secret
        frames.append(frame)
    guard = ImageProtector(_Forgetful(), level=0.5, on_video="sample")
    block = {
        "type": "video",
        "base64": base64.b64encode(film(frames, rate=1)).decode(),
        "mime_type": "video/mp4",
    }
    (message,) = guard.protect_messages([HumanMessage([block])])
    for each in message.content[1:]:
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(each["base64"]))), dtype=float)
        assert shown[4:44, 4:60].std() < 12


def test_all_frames_together_tell_no_more_of_what_is_covered_than_one() -> None:
    """The engine forgets every third frame, and the camera's noise is new in each."""
    rng = np.random.default_rng(0)
    secret = rng.integers(60, 190, (6, 8, 3)).repeat(8, 0).repeat(8, 1)
    frames = []
    for number in range(6):
        frame = np.full((96, 128, 3), 90 if number % 3 == 1 else 200) + rng.normal(0, 5, (96, 128, 3))
        frame[:48, :64] = secret + rng.normal(0, 5, secret.shape)
        frames.append(np.clip(frame, 0, 255).astype(np.uint8))
    guard = ImageProtector(_Forgetful(), level=0.5, on_video="sample")
    data = base64.b64encode(film(frames, rate=1, options={"crf": "10"})).decode()
    (message,) = guard.protect_messages(
        [HumanMessage([{"type": "video", "base64": data, "mime_type": "video/mp4"}])]
    )
    shown = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(each["base64"])))) for each in message.content[1:]
    ]
    assert len(shown) == 6

    def told(picture) -> float:
        pair = np.asarray(picture, dtype=float)[4:44, 4:60].ravel(), secret[4:44, 4:60].ravel()
        return abs(float(np.corrcoef(*pair)[0, 1])) if pair[0].std() > 0.5 else 0.0

    assert max(map(told, shown)) < 0.2
    assert told(np.mean(shown, axis=0)) < 0.2
    assert told(np.median(shown, axis=0)) < 0.2


def frames_of(data: bytes) -> list:
    import av

    with av.open(io.BytesIO(data)) as container:
        (stream,) = container.streams
        assert stream.codec_context.name == "h264"
        return [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(stream)]


def test_a_protected_video_has_every_frame_at_its_time_and_nothing_else() -> None:
    made = frames_of(ImageProtector(Pixelate(), level=0.5).protect_video(gray_film(12, rate=5)))
    assert [time for time, _ in made] == pytest.approx([number / 5 for number in range(12)], abs=1e-4)
    assert [frame.mean() for _, frame in made] == pytest.approx([4 * number for number in range(12)], abs=3)
    assert {frame.shape for _, frame in made} == {(48, 64, 3)}


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_a_protected_film_takes_the_place_of_a_video(block) -> None:
    guard = protector(on_video="encode")
    (message,) = guard.protect_messages([HumanMessage([block, {"type": "text", "text": "Who is it?"}])])
    video, question = message.content
    assert {**video, "base64": ""} == {"type": "video", "base64": "", "mime_type": "video/mp4"}
    assert question["text"] == "Who is it?"
    made = frames_of(base64.b64decode(video["base64"]))
    assert [frame.mean() for _, frame in made] == pytest.approx([4 * number for number in range(30)], abs=3)
    assert B64[:400] not in str(message)


def test_a_protected_film_passes_again_and_is_in_the_receipt() -> None:
    guard = protector(on_video="encode")
    first = guard.admit([HumanMessage([BLOCKS["LangChain v1"]])])
    (sent,) = first.receipt.images
    film = base64.b64decode(first.messages[0].content[0]["base64"])
    assert sent.sha256 == hashlib.sha256(film).hexdigest()
    again = guard.admit(first.messages)
    assert again.messages[0].content == first.messages[0].content
    assert guard.has_put_out(first.messages)
    assert not guard.has_put_out([HumanMessage([BLOCKS["LangChain v1"]])])


def test_a_protected_film_has_the_size_at_which_providers_look_at_it() -> None:
    tall = base64.b64encode(gray_film(2, (80, 1_600))).decode()
    block = {"type": "video", "base64": tall, "mime_type": "video/mp4"}
    (message,) = protector(on_video="encode").protect_messages([HumanMessage([block])])
    assert {frame.shape[:2] for _, frame in frames_of(base64.b64decode(message.content[0]["base64"]))} == {
        (768, 38)
    }


class _Strange:
    """Knows no picture that is bright."""

    def protect(self, image, level):
        return Pixelate().protect(image, level)

    def judged(self, image, level):
        return Judged(self.protect(image, level), image.getpixel((0, 0))[0] < 60)


def test_a_film_with_a_frame_that_the_engine_was_not_made_for_says_so() -> None:
    admitted = ImageProtector(_Strange(), level=0.5, on_video="encode").admit(
        [HumanMessage([BLOCKS["LangChain v1"]])]
    )
    assert [image.unfamiliar for image in admitted.receipt.images] == ["covered"]
    shown = [
        frame.std() for _, frame in frames_of(base64.b64decode(admitted.messages[0].content[0]["base64"]))
    ]
    assert max(shown) < 5
    with pytest.raises(ProtectionError, match="unlike"):
        ImageProtector(_Strange(), level=0.5, on_video="encode", on_unfamiliar="raise").protect_messages(
            [HumanMessage([BLOCKS["LangChain v1"]])]
        )


def test_a_film_that_needs_more_than_the_budget_is_refused() -> None:
    few = protector(on_video="encode", budget=RequestBudget(pixels=20 * 64 * 48))
    with pytest.raises(ProtectionError, match="pixels"):
        few.protect_messages([HumanMessage([BLOCKS["LangChain v1"]])])


def test_sound_and_what_a_file_says_of_itself_stay_behind() -> None:
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as written:
        written.metadata["title"] = "holiday in Rome"
        pictures, voice = written.add_stream("libx264", rate=5), written.add_stream("aac", rate=8000)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        for number in range(5):
            written.mux(pictures.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), number, np.uint8))))
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        samples.sample_rate = 8000
        written.mux([*voice.encode(samples), *voice.encode(), *pictures.encode()])
    assert b"Rome" in file.getvalue()
    guard = ImageProtector(Pixelate(), level=0.5)
    protected = guard.protect_video(file.getvalue())
    assert b"Rome" not in protected
    assert len(frames_of(protected)) == 5
    assert protected == guard.protect_video(file.getvalue())


def test_a_video_is_made_smaller_as_its_pictures_are() -> None:
    made = frames_of(ImageProtector(Pixelate(), output_size=32).protect_video(gray_film(2)))
    assert {frame.shape for _, frame in made} == {(24, 32, 3)}


def test_a_video_is_no_more_than_its_time_allows() -> None:
    with pytest.raises(ProtectionError, match="seconds"):
        ImageProtector(Pixelate()).protect_video(gray_film(30), seconds=1e-6)


def test_a_file_that_is_no_video_has_no_protected_copy(tmp_path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"secret" * 20)
    with pytest.raises(ProtectionError, match="damaged"):
        ImageProtector(Pixelate()).protect_video(tmp_path / "a.mp4")


def test_frames_of_a_protected_video_are_steady() -> None:
    rng = np.random.default_rng(0)
    secret = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    frames = []
    for number in range(40):
        frame = np.full((96, 128, 3), 200 if number % 7 == 3 else 90, np.uint8)
        frame[:48, :64] = secret
        frames.append(frame)
    guard = ImageProtector(_Forgetful(), level=0.5)
    for _, shown in frames_of(guard.protect_video(film(frames))):
        assert shown[4:44, 4:60].astype(float).std() < 12
