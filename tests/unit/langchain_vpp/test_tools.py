"""Protected tools: arguments and output at every entry point, and whatever is composed from them."""

# ruff: noqa: A002  the entry points of a tool have these arguments
from __future__ import annotations

import base64
import copy
import io
import pickle
from typing import Annotated, Any

import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import BaseTool, InjectedToolArg, StructuredTool, Tool, tool
from PIL import Image

from langchain_vpp import ImageProtector, ProtectionError, protect_tool
from langchain_vpp.engines import Pixelate
from langchain_vpp.testing import assert_no_leak
from tests.callbacks import Everything
from tests.unit.langchain_vpp.runnables.models import BLOCK, ENCODED, MESSAGE, PICTURE

URL = f"data:image/png;base64,{ENCODED}"
ARGUMENTS = [
    PICTURE,
    ENCODED,
    URL,
    BLOCK,
    [BLOCK],
    MESSAGE,
    {"rows": [{"thumbnail": ENCODED}]},
    Image.open(io.BytesIO(PICTURE)),
]
HIDDEN = [f"See {URL}.", bytearray(b"x") * 300, io.BytesIO(PICTURE), list(PICTURE)]


@pytest.fixture
def protector() -> ImageProtector:
    return ImageProtector(Pixelate(), level=0.7)


class Keeping(BaseTool):
    """Keeps what it gets, and returns it."""

    name: str = "keeping"
    description: str = "Keep."
    kept: list[Any] = []  # noqa: RUF012

    def _run(self, picture: Any) -> Any:
        self.kept.append(picture)
        return picture if isinstance(picture, (bytes, Image.Image)) else "Kept."


async def _collected(pieces: Any) -> list[Any]:
    return [piece async for piece in pieces]


async def _finished(results: Any) -> list[Any]:
    return [result[1] async for result in results]


SYNC: dict[str, Any] = {
    "invoke": lambda tool, given, config: tool.invoke(given, config),
    "run": lambda tool, given, config: tool.run(given, callbacks=config["callbacks"]),
    "stream": lambda tool, given, config: list(tool.stream(given, config)),
    "batch": lambda tool, given, config: tool.batch([given, given], config),
    "batch_as_completed": lambda tool, given, config: list(tool.batch_as_completed([given], config)),
    "transform": lambda tool, given, config: list(tool.transform(iter([given]), config)),
}
ASYNC: dict[str, Any] = {
    "ainvoke": lambda tool, given, config: tool.ainvoke(given, config),
    "arun": lambda tool, given, config: tool.arun(given, callbacks=config["callbacks"]),
    "astream": lambda tool, given, config: _collected(tool.astream(given, config)),
    "abatch": lambda tool, given, config: tool.abatch([given, given], config),
    "abatch_as_completed": lambda tool, given, config: _finished(tool.abatch_as_completed([given], config)),
    "atransform": lambda tool, given, config: _collected(tool.atransform(_once(given), config)),
    "astream_events": lambda tool, given, config: _collected(tool.astream_events(given, config)),
    "astream_log": lambda tool, given, config: _collected(tool.astream_log(given, config)),
}
ENTRIES = [*SYNC, *ASYNC]


async def _once(given: Any) -> Any:
    yield given


async def _call(name: str, tool: Any, given: Any, config: Any) -> Any:
    return SYNC[name](tool, given, config) if name in SYNC else await ASYNC[name](tool, given, config)


@pytest.mark.slow(seconds=0.13)
@pytest.mark.parametrize("entry", ENTRIES)
async def test_arguments_and_output_are_protected_at_every_entry_point(
    entry: str, protector: ImageProtector
) -> None:
    for argument in ARGUMENTS:
        handler, bare = Everything(), Keeping(kept=[])
        result = await _call(
            entry, protect_tool(bare, protector), {"picture": argument}, {"callbacks": [handler]}
        )
        assert bare.kept
        assert all(type(kept) is type(argument) or isinstance(kept, Image.Image) for kept in bare.kept)
        assert_no_leak(PICTURE, bare.kept, result, handler.events)
    for hidden in HIDDEN:
        handler, bare = Everything(), Keeping(kept=[])
        with pytest.raises(ProtectionError, match="arguments of a tool") as caught:
            await _call(entry, protect_tool(bare, protector), {"picture": hidden}, {"callbacks": [handler]})
        assert not bare.kept
        assert_no_leak(PICTURE, handler.events, caught.value.args)


class Pieces(BaseTool):
    """Has entry points of its own, which hand out a picture, or pieces of one."""

    name: str = "pieces"
    description: str = "Take."

    def _run(self) -> Any:
        return PICTURE

    def stream(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        yield from (PICTURE[start : start + 100] for start in range(0, len(PICTURE), 100))

    async def astream(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        for piece in self.stream(input):
            yield piece

    def transform(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        yield from self.stream(input)

    async def atransform(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        yield PICTURE

    def batch(self, inputs: Any, config: Any = None, **kwargs: Any) -> Any:
        return [PICTURE for _ in inputs]

    async def abatch(self, inputs: Any, config: Any = None, **kwargs: Any) -> Any:
        return [PICTURE for _ in inputs]

    def batch_as_completed(self, inputs: Any, config: Any = None, **kwargs: Any) -> Any:
        yield 0, PICTURE

    async def abatch_as_completed(self, inputs: Any, config: Any = None, **kwargs: Any) -> Any:
        yield 0, PICTURE


class Direct(Pieces):
    """Runs by itself, without core."""

    def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        return [input, PICTURE]

    async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        return [input, PICTURE]

    def run(self, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        return PICTURE

    async def arun(self, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        return PICTURE


@pytest.mark.parametrize("entry", ENTRIES)
async def test_entry_points_of_a_tools_own_hand_out_no_original(
    entry: str, protector: ImageProtector
) -> None:
    handler = Everything()
    result = await _call(entry, protect_tool(Pieces(), protector), {}, {"callbacks": [handler]})
    assert "/9j/" in str(result), "no protected picture came through"
    assert_no_leak(PICTURE, result, handler.events)
    if entry not in ("run", "arun"):
        with pytest.raises(ProtectionError):
            await _call(entry, protect_tool(Direct(), protector), {}, {"callbacks": [handler]})
    assert_no_leak(PICTURE, handler.events)


def test_a_single_text_may_be_a_picture(protector: ImageProtector) -> None:
    kept: list[str] = []
    bare = Tool(name="t", func=lambda text: kept.append(text) or "Kept.", description="Keep.")
    handler = Everything()
    assert protect_tool(bare, protector).invoke(ENCODED, {"callbacks": [handler]}) == "Kept."
    assert base64.b64decode(kept[0]).startswith(b"\xff\xd8\xff")
    assert_no_leak(PICTURE, kept, handler.events)


@pytest.mark.parametrize("setting", [{"tags": [URL]}, {"metadata": {"shot": ENCODED}}, {"run_name": URL}])
@pytest.mark.parametrize("entry", ENTRIES)
async def test_pictures_in_the_settings_of_a_call_are_refused(
    entry: str, setting: Any, protector: ImageProtector
) -> None:
    if entry in ("run", "arun"):
        return
    handler, bare = Everything(), Keeping(kept=[])
    with pytest.raises(ProtectionError, match="settings"):
        await _call(
            entry, protect_tool(bare, protector), {"picture": "x"}, {"callbacks": [handler], **setting}
        )
    assert not bare.kept
    assert_no_leak(PICTURE, handler.events)


def test_pictures_in_the_settings_of_run_are_refused(protector: ImageProtector) -> None:
    guarded = protect_tool(Keeping(kept=[]), protector)
    for setting in ({"tags": [URL]}, {"metadata": {"shot": ENCODED}}, {"extra": ENCODED}):
        with pytest.raises(ProtectionError, match="settings"):
            guarded.run({"picture": "x"}, **setting)  # type: ignore[arg-type]


def test_injected_arguments_reach_the_tool_as_they_are(protector: ImageProtector) -> None:
    handler, kept = Everything(), []

    @tool
    def crop(box: str, original: Annotated[Any, InjectedToolArg]) -> str:
        """Crop."""
        kept.append(original)
        return box

    state = {"messages": [MESSAGE], "connection": object()}
    protected = protect_tool(crop, protector)
    assert protected.invoke({"box": "1", "original": state}, {"callbacks": [handler]}) == "1"
    assert kept == [state]
    assert_no_leak(PICTURE, handler.events)


def test_arguments_without_pictures_are_the_same_objects(protector: ImageProtector) -> None:
    bare = Keeping(kept=[])
    given = [{"connection": object()}, print, [HumanMessage("Hi.")]]
    for argument in given:
        protect_tool(bare, protector).invoke({"picture": argument})
    assert all(kept is argument for kept, argument in zip(bare.kept, given, strict=True))


def test_the_level_of_a_request_holds_for_arguments() -> None:
    seen: list[float] = []

    class Engine:
        def protect(self, image: Image.Image, level: float) -> Image.Image:
            seen.append(level)
            return image.copy()

    guarded = protect_tool(Keeping(kept=[]), ImageProtector(Engine(), level=0.5))
    guarded.invoke({"picture": ENCODED}, {"configurable": {"vpp_level": 0.9}})
    assert seen == [0.9]


COMPOSITIONS: dict[str, Any] = {
    "retry": lambda tool: tool.with_retry(),
    "fallbacks": lambda tool: tool.with_fallbacks([tool]),
    "map": lambda tool: tool.map(),
    "bind": lambda tool: tool.bind(),
    "config": lambda tool: tool.with_config(tags=["t"]),
    "listeners": lambda tool: tool.with_listeners(on_start=lambda run: None),
    "types": lambda tool: tool.with_types(output_type=Any),
    "or": lambda tool: tool | (lambda output: output),
    "pipe": lambda tool: tool.pipe(RunnableLambda(lambda output: output)),
    "assign": lambda tool: (tool | (lambda output: {"a": output})).assign(b=lambda _: 1),
}


@pytest.mark.parametrize("name", COMPOSITIONS)
async def test_what_is_composed_from_a_tool_is_protected(name: str, protector: ImageProtector) -> None:
    composed = COMPOSITIONS[name](protect_tool(Keeping(kept=[]), protector))
    given = {"picture": [MESSAGE]}
    handler = Everything()
    config: Any = {"callbacks": [handler]}
    results = [
        composed.invoke([given] if name == "map" else given, config),
        await composed.ainvoke([given] if name == "map" else given, config),
    ]
    assert "Kept." in str(results)
    assert_no_leak(PICTURE, results, handler.events)
    with pytest.raises(ProtectionError):
        composed.invoke({"picture": f"See {URL}."}, config)
    assert_no_leak(PICTURE, handler.events)


def test_copies_are_protected_and_cannot_be_pickled(protector: ImageProtector) -> None:
    guarded = protect_tool(Keeping(kept=[]), protector)
    for made in (copy.copy(guarded), copy.deepcopy({"tools": [guarded]})["tools"][0]):
        assert type(made) is type(guarded)
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(guarded)


def _photograph() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.new("RGB", (80, 40), "red").save(file, "JPEG", exif=exif)
    return file.getvalue()


@pytest.mark.parametrize(
    "taken", [_photograph(), Image.open(io.BytesIO(_photograph()))], ids=["bytes", "PIL"]
)
def test_a_photograph_comes_out_of_a_tool_upright(taken: Any, protector: ImageProtector) -> None:
    camera = StructuredTool.from_function(lambda: taken, name="camera", description="Take a picture.")
    message = protect_tool(camera, protector).invoke(
        {"type": "tool_call", "id": "1", "name": "camera", "args": {}}
    )
    sent = Image.open(io.BytesIO(base64.b64decode(message.content[0]["base64"])))
    assert sent.size == (40, 80)


@pytest.mark.parametrize("mode", Image.MODES)
def test_a_tool_may_return_a_picture_of_any_mode(mode: str, protector: ImageProtector) -> None:
    camera = StructuredTool.from_function(
        lambda: Image.new(mode, (40, 40)), name="camera", description="Take a picture."
    )
    call = {"type": "tool_call", "id": "1", "name": "camera", "args": {}}
    if mode in ("I", "F"):
        with pytest.raises(ProtectionError, match="no defined range"):
            protect_tool(camera, protector).invoke(call)
    else:
        message = protect_tool(camera, protector).invoke(call)
        assert isinstance(message, ToolMessage)
        assert message.content[0]["mime_type"] == "image/jpeg"


def test_a_function_may_take_the_config(protector: ImageProtector) -> None:
    @tool
    def named(config: RunnableConfig) -> str:
        """Return the tag."""
        return str(config["tags"])

    assert protect_tool(named, protector).invoke({}, {"tags": ["t"]}) == "['t']"
