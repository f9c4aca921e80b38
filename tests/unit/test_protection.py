"""What an ImageProtector does with pictures, and what it refuses."""

from __future__ import annotations

import asyncio
import base64
import copy
import hashlib
import io
import pickle
import uuid
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


def test_from_pretrained_loads_the_engine_of_an_artifact(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Any] = []

    def load_engine(source: Any) -> Pixelate:
        loaded.append(source)
        return Pixelate()

    monkeypatch.setattr("langchain_vpp.artifact.load_engine", load_engine)
    protector = ImageProtector.from_pretrained("runs/cards", level=0.6, min_level=0.4)
    assert loaded == ["runs/cards"]
    assert repr(protector) == "ImageProtector(engine='pixelate', level=0.6, min_level=0.4)"


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
