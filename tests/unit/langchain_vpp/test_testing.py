"""assert_no_leak() finds a picture in every spelling and every place, and doesn't cry wolf."""

from __future__ import annotations

import array
import base64
import dataclasses
import io
import json
import random
import textwrap
import urllib.parse
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage, ToolMessage
from PIL import Image

from langchain_vpp.testing import assert_no_leak


def _png(seed: int) -> bytes:
    encoded = io.BytesIO()
    Image.frombytes("RGB", (16, 16), random.Random(seed).randbytes(768)).save(encoded, "PNG")
    return encoded.getvalue()


CANARY = _png(1)
B64 = base64.b64encode(CANARY).decode()

SPELLINGS: dict[str, Any] = {
    "bytes": CANARY,
    "bytes with others around": b"before" + CANARY + b"after",
    "a part": CANARY[100:300],
    "base64": B64,
    "base64 as bytes": B64.encode(),
    "base64 at alignment 1": base64.b64encode(b"a" + CANARY),
    "base64 at alignment 2": base64.b64encode(b"ab" + CANARY).decode(),
    "base64 after other letters": "abcde" + B64,
    "base64 of a part": base64.b64encode(CANARY[101:200]).decode(),
    "url-safe base64": base64.urlsafe_b64encode(CANARY).decode(),
    "url-safe base64 without padding": base64.urlsafe_b64encode(CANARY).decode().rstrip("="),
    "data URL": f"data:image/png;base64,{B64}",
    "base64 in lines": base64.encodebytes(CANARY).decode(),
    "base64 in escaped lines": json.dumps(base64.encodebytes(CANARY).decode()),
    "base64 in short lines": "\n".join(textwrap.wrap(B64, 20)),
    "base64 with JSON slashes": B64.replace("/", "\\/"),
    "base64 with unicode escapes": B64.replace("+", "\\u002b").replace("/", "\\u002f"),
    "base64 with percent escapes": urllib.parse.quote(B64, safe=""),
    "base64 in JSON in JSON": json.dumps(json.dumps({"image": B64})),
    "base64 of base64": base64.b64encode(B64.encode()).decode(),
    "hex": CANARY.hex(),
    "upper-case hex": CANARY.hex().upper(),
    "hex dump": CANARY.hex(" "),
    "hex with prefixes": ", ".join(f"0x{byte:02x}" for byte in CANARY),
    "repr of bytes": repr(CANARY),
    "repr of repr": repr(repr(CANARY)),
    "octal escapes": "".join(f"\\{byte:03o}" for byte in CANARY),
    "JSON of latin-1": json.dumps(CANARY.decode("latin-1")),
    "latin-1": CANARY.decode("latin-1"),
    "surrogates": CANARY.decode("ascii", "surrogateescape"),
    "quoted-printable": "".join(f"={byte:02X}" for byte in CANARY),
    "percent-encoded": urllib.parse.quote_from_bytes(CANARY),
    "numbers": str(list(CANARY)),
    "list of numbers": list(CANARY),
    "bytearray": bytearray(CANARY),
    "memoryview": memoryview(CANARY),
}


@dataclasses.dataclass
class Holder:
    payload: Any


class Slotted:
    __slots__ = ("payload",)

    def __init__(self, payload: Any) -> None:
        self.payload = payload


def _chained(payload: bytes) -> Exception:
    error = ValueError("outer")
    error.__context__ = KeyError(payload)
    return error


PLACES: dict[str, Any] = {
    "list": lambda payload: [1, [None, (payload,)]],
    "dict value": lambda payload: {"a": {"b": payload}},
    "dict key": lambda payload: {payload: 1},
    "set": lambda payload: {payload},
    "message": lambda payload: HumanMessage([{"type": "image", "base64": payload}]),
    "artifact": lambda payload: ToolMessage("x", tool_call_id="1", artifact=payload),
    "pydantic extra": lambda payload: HumanMessage("x", attachment=payload),
    "document": lambda payload: Document("x", metadata={"image": payload}),
    "dataclass": Holder,
    "slots": Slotted,
    "exception": ValueError,
    "exception context": _chained,
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_each_spelling_is_found(spelling: str) -> None:
    with pytest.raises(AssertionError, match="leaked"):
        assert_no_leak(CANARY, SPELLINGS[spelling])


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_same_spelling_of_another_picture_is_not_found(spelling: str) -> None:
    assert_no_leak(_png(2), SPELLINGS[spelling])


@pytest.mark.parametrize("place", PLACES)
def test_each_place_is_searched(place: str) -> None:
    for payload in (CANARY, B64):
        with pytest.raises(AssertionError, match="leaked"):
            assert_no_leak(CANARY, PLACES[place](payload))
    assert_no_leak(CANARY, PLACES[place](_png(2)))


@pytest.mark.parametrize(
    "convert",
    [
        lambda pixels: pixels,
        lambda pixels: pixels.astype(np.float32),
        lambda pixels: pixels.astype(np.int64),
        lambda pixels: {"pixels": [array.array("B", pixels.tobytes())]},
        lambda pixels: pytest.importorskip("torch").from_numpy(pixels),
    ],
    ids=["bytes", "floats", "integers", "array", "tensor"],
)
def test_arrays_of_pixels_are_searched(convert: Any) -> None:
    picture = Image.open(io.BytesIO(CANARY))
    with pytest.raises(AssertionError, match="leaked"):
        assert_no_leak(picture, convert(np.array(picture)))
    assert_no_leak(picture, convert(np.array(Image.open(io.BytesIO(_png(2))))))


@dataclasses.dataclass
class Passing:
    """Makes its values when it is asked, at whatever address is free."""

    one: Any = None
    two: Any = None
    three: Any = None

    def __getattribute__(self, name: str) -> Any:
        if name in ("one", "two", "three"):
            return {"payload": B64 if name == "three" else "harmless"}
        return super().__getattribute__(name)


def test_a_value_at_the_address_of_an_earlier_one_is_searched() -> None:
    with pytest.raises(AssertionError, match="leaked"):
        assert_no_leak(CANARY, Passing())


def test_what_was_too_deep_in_one_sink_is_searched_whole_in_the_next() -> None:
    encoded = CANARY
    for _ in range(3):
        encoded = base64.b64encode(encoded)
    deeper = base64.b64encode(encoded)
    assert_no_leak(CANARY, deeper)  # four encodings within each other: by design
    with pytest.raises(AssertionError, match=r"sink 0\[1\]"):
        assert_no_leak(CANARY, [deeper, encoded])


def test_files_and_folders_are_searched(tmp_path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "state.db").write_bytes(b"\0" * 10_000 + B64.encode())
    with pytest.raises(AssertionError, match=r"state\.db"):
        assert_no_leak(CANARY, tmp_path)
    with pytest.raises(AssertionError, match=r"state\.db"):
        assert_no_leak(CANARY, tmp_path / "deep" / "state.db")


@pytest.mark.parametrize("image_format", ["PNG", "BMP", "WEBP", "JPEG"])
def test_the_same_pixels_in_another_format_are_found(image_format: str) -> None:
    smooth = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    original = io.BytesIO()
    smooth.save(original, "TIFF")
    again = io.BytesIO()
    smooth.save(again, image_format, quality=95)
    with pytest.raises(AssertionError, match="leaked"):
        assert_no_leak(original.getvalue(), {"url": base64.b64encode(again.getvalue()).decode()})


def test_a_picture_as_canary_is_found_as_an_object_and_as_a_file() -> None:
    picture = Image.open(io.BytesIO(CANARY))
    for sink in (picture, [picture.copy()], CANARY, B64, picture.tobytes()):
        with pytest.raises(AssertionError, match="leaked"):
            assert_no_leak(picture, sink)
    assert_no_leak(picture, Image.open(io.BytesIO(_png(2))), _png(2))


@pytest.mark.parametrize("mode", Image.MODES)
def test_a_picture_of_any_mode_may_be_canary_and_sink(mode: str) -> None:
    picture = Image.open(io.BytesIO(CANARY)).convert("LA")
    picture = picture.convert(mode) if mode == "La" else picture.convert("RGB").convert(mode)
    with pytest.raises(AssertionError, match="leaked"):
        assert_no_leak(picture, {"shot": picture})
    assert_no_leak(CANARY, Image.new(mode, (24, 24)))


def test_the_message_names_the_place_and_quotes_nothing() -> None:
    with pytest.raises(AssertionError) as caught:
        assert_no_leak(CANARY, "clean", {"requests": [{"body": B64}]})
    assert "sink 1['requests'][0]['body']" in str(caught.value)
    assert_no_leak(CANARY, caught.value)


def test_harmless_sinks_pass() -> None:
    assert_no_leak(
        CANARY, "", b"", None, 1, 1.5, "text", {"a": [1, 2, 3]}, HumanMessage("Hello."), ValueError("x")
    )


def test_cycles_end() -> None:
    cycle: list[Any] = []
    cycle.append({"again": cycle})
    assert_no_leak(CANARY, cycle)


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(ValueError, match="sink"):
        assert_no_leak(CANARY)
    with pytest.raises(ValueError, match="uniform"):
        assert_no_leak(b"\0" * 1000, "text")
    with pytest.raises(ValueError, match="short"):
        assert_no_leak(b"abc", "text")
    with pytest.raises(TypeError, match="iterator"):
        assert_no_leak(CANARY, iter([CANARY]))
