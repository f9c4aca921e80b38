"""What an ImageProtector does with pictures, and what it refuses."""

from __future__ import annotations

import asyncio
import base64
import copy
import hashlib
import io
import itertools
import pickle
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler, CallbackManager
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.stores import InMemoryByteStore
from PIL import Image

from langchain_vpp import ImageProtector, ProtectionError, TraceLeakWarning
from langchain_vpp.engines import Blur, Downscale, Pixelate
from langchain_vpp.testing import assert_no_leak
from tests.integration.recording import noise_png
from tests.untrained import save_untrained

if TYPE_CHECKING:
    from pathlib import Path

PICTURE = noise_png(21)
OTHER = noise_png(22)


def _human(*pictures: bytes) -> list[BaseMessage]:
    blocks = [
        {"type": "image", "base64": base64.b64encode(picture).decode(), "mime_type": "image/png"}
        for picture in pictures
    ]
    return [HumanMessage([{"type": "text", "text": "What?"}, *blocks])]


def _sent(messages: list[BaseMessage]) -> list[bytes]:
    return [
        base64.b64decode(block["base64"])
        for message in messages
        for block in message.content
        if isinstance(block, dict) and block["type"] == "image"
    ]


class Counting:
    """Pixelate, but counts."""

    def __init__(self) -> None:
        self.calls: list[float] = []

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        self.calls.append(level)
        return Pixelate().protect(image, level)


class Returning:
    def __init__(self, make: Any) -> None:
        self.make = make

    def protect(self, image: Image.Image, level: float) -> Any:
        return self.make(image)


def _raise(image: Image.Image) -> Any:
    raise RuntimeError(base64.b64encode(PICTURE).decode())


def test_every_picture_is_replaced_and_the_input_is_not_changed() -> None:
    messages = [*_human(PICTURE, OTHER), AIMessage("ok")]
    before = copy.deepcopy(messages)
    protected = ImageProtector(Pixelate()).protect_messages(messages)
    assert messages == before
    assert len(_sent(protected)) == 2
    assert protected[1] is messages[1]
    assert_no_leak(PICTURE, protected)
    assert_no_leak(OTHER, protected)


def test_the_async_twin_gives_the_same() -> None:
    protector = ImageProtector(Pixelate())
    assert asyncio.run(protector.aprotect_messages(_human(PICTURE))) == protector.protect_messages(
        _human(PICTURE)
    )


@pytest.mark.parametrize("engine", [Blur(), Pixelate(), Downscale()])
def test_two_protectors_of_the_same_engine_give_the_same_bytes(engine: Any) -> None:
    one, other = ImageProtector(engine, level=0.7), ImageProtector(engine, level=0.7)
    assert _sent(one.protect_messages(_human(PICTURE))) == _sent(other.protect_messages(_human(PICTURE)))


def test_the_same_picture_at_the_same_level_is_computed_once() -> None:
    engine = Counting()
    protector = ImageProtector(engine, level=0.6)
    for _ in range(3):
        protector.protect_messages(_human(PICTURE, PICTURE))
    assert engine.calls == [0.6]
    protector.protect_messages(_human(PICTURE), level=0.7)
    assert engine.calls == [0.6, 0.7]


def test_the_memo_is_bounded_in_bytes() -> None:
    engine = Counting()
    size = len(_sent(ImageProtector(engine).protect_messages(_human(PICTURE)))[0])
    protector = ImageProtector(engine, memo_bytes=size + size // 2)
    engine.calls.clear()
    for picture in (PICTURE, OTHER, PICTURE):
        protector.protect_messages(_human(picture))
    assert len(engine.calls) == 3


def test_what_the_protector_has_put_out_passes_unchanged() -> None:
    engine = Counting()
    protector = ImageProtector(engine, level=0.6, memo_bytes=0)
    once = protector.protect_messages(_human(PICTURE))
    assert _sent(protector.protect_messages(once)) == _sent(once)
    assert _sent(protector.protect_messages(once, level=0.6)) == _sent(once)
    assert _sent(protector.protect_messages(once, level=0.2)) == _sent(once)
    assert len(engine.calls) == 1


def test_a_stronger_level_asked_for_by_name_protects_again() -> None:
    protector = ImageProtector(Pixelate(), level=0.3)
    once = protector.protect_messages(_human(PICTURE))
    assert _sent(protector.protect_messages(once, level=0.9)) != _sent(once)


def test_another_protectors_output_is_protected_again() -> None:
    once = ImageProtector(Pixelate()).protect_messages(_human(PICTURE))
    again = ImageProtector(Blur(), level=0.9).protect_messages(once)
    assert _sent(again) != _sent(once)


def test_a_request_cannot_go_below_min_level() -> None:
    engine = Counting()
    ImageProtector(engine, level=0.8, min_level=0.5).protect_messages(_human(PICTURE), level=0.1)
    assert engine.calls == [0.5]


@pytest.mark.parametrize("level", [-0.1, 1.1, float("nan"), float("inf"), "0.5", True, [0.5]])
def test_a_level_outside_0_to_1_is_refused(level: Any) -> None:
    protector = ImageProtector(Counting())
    with pytest.raises(ProtectionError, match="from 0 to 1"):
        protector.protect_messages(_human(PICTURE), level=level)
    with pytest.raises(ValueError, match="from 0 to 1"):
        ImageProtector(Pixelate(), level=level)


@pytest.mark.parametrize(
    "options",
    [
        {"level": 0.2, "min_level": 0.5},
        {"on_unsupported": "pass"},
        {"on_remote_url": "pass"},
        {"on_document": "pass"},
        {"on_upstream_trace": "pass"},
        {"memo_bytes": -1},
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|below"):
        ImageProtector(Pixelate(), **options)


def test_an_engine_needs_protect() -> None:
    with pytest.raises(TypeError, match="protect"):
        ImageProtector(lambda image: image)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "make",
    [
        lambda image: image,
        lambda image: None,
        lambda image: image.tobytes(),
        lambda image: image.convert("L"),
        lambda image: image.resize((3, 3)),
        _raise,
    ],
)
def test_an_engine_that_misbehaves_stops_the_request_without_content(make: Any) -> None:
    protector = ImageProtector(Returning(make))
    for call in (
        lambda: protector.protect_messages(_human(PICTURE)),
        lambda: protector.protect_image(PICTURE),
    ):
        with pytest.raises(ProtectionError) as caught:
            call()
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
        assert_no_leak(PICTURE, caught.value)


def test_an_engine_cannot_smuggle_metadata() -> None:
    def with_metadata(image: Image.Image) -> Image.Image:
        result = image.resize((2, 2)).resize(image.size)
        result.info["comment"] = PICTURE
        return result

    protector = ImageProtector(Returning(with_metadata))
    assert protector.protect_image(PICTURE).info == {}
    assert_no_leak(PICTURE, protector.protect_messages(_human(PICTURE)))


def test_protect_image_takes_pictures_bytes_and_paths(tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(PICTURE)
    protector = ImageProtector(Pixelate(), level=0.7)
    results = [
        protector.protect_image(source)
        for source in (PICTURE, file, str(file), Image.open(file), bytearray(PICTURE))
    ]
    assert {(result.mode, result.size) for result in results} == {("RGB", (24, 24))}
    assert len({result.tobytes() for result in results}) == 1
    assert protector.protect_image(PICTURE, 0.0).tobytes() != results[0].tobytes()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_protect_image_takes_every_mode(mode: str) -> None:
    picture = Image.open(io.BytesIO(PICTURE)).convert("RGB").convert(mode)
    assert ImageProtector(Pixelate()).protect_image(picture).mode == "RGB"


def test_protect_image_turns_upright_and_drops_metadata() -> None:
    picture = Image.new("RGB", (8, 16))
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    picture.save(file, "JPEG", exif=exif, comment=b"secret")
    for source in (file.getvalue(), Image.open(file)):
        result = ImageProtector(Blur(), level=0.0).protect_image(source)
        assert result.size == (16, 8)
        assert result.info == {}
        assert not result.getexif()


@pytest.mark.parametrize("source", [b"no picture", "/nowhere/at/all.png", 7, None])
def test_protect_image_refuses_what_is_no_picture(source: Any) -> None:
    with pytest.raises(ProtectionError) as caught:
        ImageProtector(Pixelate()).protect_image(source)
    assert caught.value.__context__ is None
    assert "nowhere" not in str(caught.value)


def test_a_protector_cannot_be_changed_or_pickled() -> None:
    protector = ImageProtector(Pixelate(), level=0.7)
    with pytest.raises(AttributeError):
        protector._level = 0.0  # type: ignore[misc]
    with pytest.raises(AttributeError):
        protector.extra = 1  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        del protector._level
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(protector)
    assert repr(protector) == "ImageProtector(engine='pixelate', level=0.7, min_level=0.0)"


def test_unsupported_content_is_dropped_only_if_told_to() -> None:
    messages = [HumanMessage([{"type": "hologram", "data": base64.b64encode(PICTURE).decode()}])]
    with pytest.raises(ProtectionError):
        ImageProtector(Pixelate()).protect_messages(messages)
    dropped = ImageProtector(Pixelate(), on_unsupported="drop").protect_messages(messages)
    assert dropped[0].content[0]["type"] == "text"
    assert_no_leak(PICTURE, dropped)


def test_the_receipt_names_what_was_sent_and_not_the_original() -> None:
    protector = ImageProtector(Pixelate(), level=0.7)
    messages, receipt = protector.admit(_human(PICTURE, OTHER))
    metadata = receipt.as_metadata()
    assert [image["sha256"] for image in metadata["images"]] == [
        hashlib.sha256(data).hexdigest() for data in _sent(messages)
    ]
    assert {image["level"] for image in metadata["images"]} == {0.7}
    assert all(image["ms"] > 0 for image in metadata["images"])
    assert (metadata["engine"], metadata["artifact"]) == ("pixelate", Pixelate().digest)
    assert hashlib.sha256(PICTURE).hexdigest() not in str(metadata)


def test_the_receipt_names_the_originals_digest_if_told_to() -> None:
    protector = ImageProtector(Counting(), receipt_original_digest=True)
    metadata = protector.admit(_human(PICTURE)).receipt.as_metadata()
    assert metadata["images"][0]["original_sha256"] == hashlib.sha256(PICTURE).hexdigest()
    assert (metadata["engine"], metadata["artifact"]) == ("Counting", None)


def test_a_receipt_of_pictures_that_were_protected_before_is_complete() -> None:
    protector = ImageProtector(Pixelate(), level=0.7)
    once, first = protector.admit(_human(PICTURE))
    assert protector.admit(once).receipt == first


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
    expected = _sent(protector.protect_messages(_human(PICTURE)))
    for one in (protector, other):
        assert _sent(one.protect_messages([HumanMessage([block])])) == expected
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


REMOTE = [HumanMessage([{"type": "image", "url": "https://images.example/private.png"}])]


def test_a_remote_picture_is_refused_or_fetched_and_protected() -> None:
    with pytest.raises(ProtectionError):
        ImageProtector(Pixelate()).protect_messages(REMOTE)
    asked: list[str] = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        return PICTURE

    protector = ImageProtector(Pixelate(), on_remote_url="fetch", fetch=fetch)
    assert _sent(protector.protect_messages(REMOTE)) == _sent(protector.protect_messages(_human(PICTURE)))
    assert asked == ["https://images.example/private.png"]


def _failing_fetch(url: str) -> bytes:
    raise OSError(url)


@pytest.mark.parametrize(
    "fetch", [_failing_fetch, lambda url: url, lambda url: None, lambda url: b"no picture"]
)
def test_a_fetch_that_fails_stops_the_request_without_the_address(fetch: Any) -> None:
    protector = ImageProtector(Pixelate(), on_remote_url="fetch", fetch=fetch)
    with pytest.raises(ProtectionError) as caught:
        protector.protect_messages(REMOTE)
    assert caught.value.__context__ is None
    assert "private" not in str(caught.value)


def test_from_pretrained_loads_the_engine_of_an_artifact(tmp_path: Path) -> None:
    save_untrained(tmp_path)
    protector = ImageProtector.from_pretrained(tmp_path, level=0.6, min_level=0.4)
    assert repr(protector) == "ImageProtector(engine='torch', level=0.6, min_level=0.4)"


class Recording(BaseCallbackHandler):
    def on_chain_start(self, *args: Any, **kwargs: Any) -> None:
        pass


def _inside_a_run(handler: BaseCallbackHandler) -> Any:
    return CallbackManager(handlers=[handler], parent_run_id=uuid.uuid4())


def test_the_guard_warns_raises_or_ignores() -> None:
    inside = _inside_a_run(Recording())
    with pytest.warns(TraceLeakWarning):
        ImageProtector(Pixelate()).admit(_human(PICTURE), callbacks=inside)
    with pytest.raises(ProtectionError, match="enclosing run"):
        ImageProtector(Pixelate(), on_upstream_trace="raise").admit(_human(PICTURE), callbacks=inside)
    ImageProtector(Pixelate(), on_upstream_trace="ignore").admit(_human(PICTURE), callbacks=inside)


def test_the_guard_is_silent_where_nothing_was_exposed() -> None:
    protector = ImageProtector(Pixelate(), on_upstream_trace="raise", store=InMemoryByteStore())
    inside = _inside_a_run(Recording())
    protector.admit("text only", callbacks=inside)
    protector.admit([HumanMessage([protector.seal(PICTURE)])], callbacks=inside)
    protector.admit(protector.protect_messages(_human(PICTURE)), callbacks=inside)
    protector.admit(_human(PICTURE), callbacks=[Recording()])
    protector.admit(_human(PICTURE), callbacks=CallbackManager(handlers=[Recording()]))
    protector.admit(_human(PICTURE), callbacks=_inside_a_run(BaseCallbackHandler()))


class Seeing:
    """Notes the sizes that it is given; looks at 64 pixels at most if told so."""

    def __init__(self, working_resolution: int | None = None) -> None:
        self.sizes: list[tuple[int, int]] = []
        if working_resolution is not None:
            self.working_resolution = working_resolution

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        self.sizes.append(image.size)
        return image.copy()


def _picture(width: int, height: int, file_format: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(file, file_format, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("output_size", "expected"),
    [
        ("same", (1600, 1200)),
        ("fit", (1024, 768)),
        (800, (800, 600)),
        ((900, 300), (400, 300)),
        (5000, (1600, 1200)),
    ],
)
@pytest.mark.parametrize("resolution", [None, 64])
def test_pictures_leave_at_the_size_that_was_chosen(
    output_size: Any, expected: tuple[int, int], resolution: int | None
) -> None:
    engine = Seeing(resolution)
    protector = ImageProtector(engine, output_size=output_size)
    data = _picture(1600, 1200)
    sent = _sent(protector.protect_messages(_human(data)))[0]
    assert Image.open(io.BytesIO(sent)).size == expected
    assert protector.protect_image(data).size == expected
    assert protector.protect_encoded(data) == sent
    assert set(engine.sizes) == {(64, 48) if resolution else expected}


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("resolution", [None, 64])
def test_a_size_is_that_of_the_upright_picture(orientation: int, resolution: int | None) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    protector = ImageProtector(Seeing(resolution), output_size=(200, 1000))
    size = protector.protect_image(_picture(400, 100, exif=exif)).size
    assert size == ((200, 50) if orientation == 1 else (100, 400))


def test_an_engine_that_sees_little_lets_no_detail_through() -> None:
    stripes = Image.new("L", (512, 512))
    stripes.putdata([255 * (x % 2) for _ in range(512) for x in range(512)])
    shown = ImageProtector(Seeing(64)).protect_image(stripes.convert("RGB"))
    low, high = shown.convert("L").getextrema()
    assert isinstance(low, int)
    assert isinstance(high, int)
    assert 120 <= low <= high <= 135


@pytest.mark.parametrize(
    "output_size", ["large", 0, -1, 1.5, True, (1, 2, 3), (0, 5), (1, 70_000), [5, 5], None, ()]
)
def test_a_size_that_is_none_is_refused(output_size: Any) -> None:
    with pytest.raises(ValueError, match="output_size"):
        ImageProtector(Pixelate(), output_size=output_size)


class _Meeting(Seeing):
    """Protects only when two pictures are in work at once."""

    def __init__(self) -> None:
        super().__init__()
        self.barrier = threading.Barrier(2, timeout=20)

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        self.barrier.wait()
        return super().protect(image, level)


def test_the_pictures_of_a_request_are_protected_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langchain_vpp.guard.pictures.usable_cpus", lambda: 2)
    pictures = [_picture(40 + number, 30) for number in range(4)]
    sent = _sent(ImageProtector(_Meeting()).protect_messages(_human(*pictures)))
    assert [Image.open(io.BytesIO(each)).width for each in sent] == [40, 41, 42, 43]


def test_one_picture_of_several_that_fails_stops_the_request_without_content() -> None:
    class Failing(Seeing):
        def protect(self, image: Image.Image, level: float) -> Image.Image:
            return _raise(image) if image.width == 42 else super().protect(image, level)

    pictures = [_picture(40 + number, 30) for number in range(4)]
    with pytest.raises(ProtectionError) as caught:
        ImageProtector(Failing()).protect_messages(_human(*pictures))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert_no_leak(PICTURE, caught.value)


def test_threads_that_ask_for_the_same_picture_at_once_get_the_same_bytes() -> None:
    class Uneven:
        """Another result each time: only the memo can make callers agree."""

        def __init__(self) -> None:
            self.count = itertools.count()
            self.barrier = threading.Barrier(4, timeout=20)

        def protect(self, image: Image.Image, level: float) -> Image.Image:
            self.barrier.wait()
            return Image.new("RGB", image.size, (next(self.count) * 60, 0, 0))

    protector = ImageProtector(Uneven())
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: _sent(protector.protect_messages(_human(PICTURE)))[0], range(4)))
    assert len(set(answers)) == 1


def test_many_small_pictures_count_with_what_remembering_them_takes() -> None:
    engine = Counting()
    protector = ImageProtector(engine, memo_bytes=20_000)
    pictures = [_picture(8 + number, 8) for number in range(100)]
    for data in pictures:
        protector.protect_messages(_human(data))
    assert len(protector._pipeline._memo._entries) < 20
    assert 0 < protector._pipeline._memo._bytes <= 20_000


async def test_the_event_loop_goes_on_while_pictures_are_protected() -> None:
    class Waiting(Seeing):
        def protect(self, image: Image.Image, level: float) -> Image.Image:
            assert released.wait(20)
            return super().protect(image, level)

    released = threading.Event()
    protected = asyncio.create_task(ImageProtector(Waiting()).aprotect_messages(_human(PICTURE)))
    for _ in range(50):
        await asyncio.sleep(0.001)
    assert not protected.done()
    released.set()
    assert len(_sent(await protected)) == 1
