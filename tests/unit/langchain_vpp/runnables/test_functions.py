"""Functions, tools and retrievers inside of a protected chain: they work as ever, and their runs record no original."""

from __future__ import annotations

import base64
import functools
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from langchain_core.callbacks import dispatch_custom_event
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.output_parsers import (
    BaseGenerationOutputParser,
    BaseOutputParser,
    BaseTransformOutputParser,
    StrOutputParser,
)
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import (
    Runnable,
    RunnableConfig,
    RunnableGenerator,
    RunnableLambda,
    RunnablePassthrough,
    RunnableSequence,
)
from langchain_core.runnables.utils import AddableDict
from langchain_core.tools import BaseTool, StructuredTool
from PIL import Image

from langchain_vpp import ImageProtector, ProtectionError, protect
from langchain_vpp.engines import Pixelate
from langchain_vpp.testing import assert_no_leak
from tests.callbacks import Everything
from tests.unit.langchain_vpp.runnables.models import BLOCK, ENCODED, PICTURE, Echo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

ASK = ChatPromptTemplate(
    [("human", [{"type": "image_url", "image_url": {"url": "data:image/png;base64,{picture}"}}])]
)
MODULE_MODEL = Echo(seen=[])
counted = 0


def small_gif() -> bytes:
    """A file of fewer bytes than are looked at at once."""
    file = io.BytesIO()
    Image.new("P", (4, 4)).save(file, "GIF")
    return file.getvalue()[:60]


def _question(_: Any = None) -> list[BaseMessage]:
    return [HumanMessage([BLOCK])]


def _by_module(value: Any) -> Any:
    return MODULE_MODEL.invoke(_question(value))


def _counting(value: Any) -> Any:
    global counted  # noqa: PLW0603  that is what it is about
    counted += 1
    return value


def _decorated(model: Runnable[Any, Any]) -> Any:
    def decorate(function: Any) -> Any:
        @functools.wraps(function)
        def decorated(value: Any) -> Any:
            return function(value)

        return decorated

    @decorate
    def ask(value: Any) -> Any:
        return model.invoke(_question(value))

    return ask


class Answering(RunnableSequence[Any, Any]):
    def ask(self, value: Any) -> Any:
        return self.last.invoke(_question(value))


async def _coroutine(model: Echo, value: Any) -> Any:
    return await model.ainvoke(_question(value))


FUNCTIONS: dict[str, Callable[[Echo], Any]] = {
    "closure": lambda model: lambda value: model.invoke(_question(value)),
    "default": lambda model: lambda value, held=model: held.invoke(_question(value)),
    "keyword": lambda model: functools.partial(
        lambda value, *, held: held.invoke(_question(value)), held=model
    ),
    "partial": lambda model: functools.partial(lambda held, value: held.invoke(_question(value)), model),
    "decorated": _decorated,
    "list": lambda model: lambda value, held=[model]: held[0].invoke(_question(value)),
    "mapping": lambda model: lambda value, held={"a": model}: held["a"].invoke(_question(value)),
    "inner function": lambda model: lambda value: [model.invoke(_question(each)) for each in [value]],
    "method of a Runnable": lambda model: Answering(RunnablePassthrough(), model).ask,
    "bound entry point": lambda model: (RunnableLambda(_question) | model).invoke,
    "batch": lambda model: lambda value: model.batch([_question(value)]),
    "generate": lambda model: lambda value: model.generate([_question(value)]),
    "own callbacks": lambda model: lambda value: model.invoke(_question(value), {"callbacks": []}),
    "returned": lambda model: lambda _: RunnableLambda(_question) | model,
}


@pytest.mark.slow(seconds=0.04)
@pytest.mark.parametrize("kind", FUNCTIONS)
async def test_models_that_a_function_refers_to_are_protected(kind: str, protector: ImageProtector) -> None:
    model = Echo(seen=[])
    for call in ("invoke", "ainvoke"):
        model.seen.clear()
        handler = Everything()
        runnable: Any = protect(RunnableLambda(FUNCTIONS[kind](model)), protector)
        result = getattr(runnable, call)("x", {"callbacks": [handler]})
        if call == "ainvoke":
            await result
        assert "/9j/" in str(model.seen)
        assert_no_leak(PICTURE, model.seen, handler.events)


async def test_models_of_coroutines_and_of_the_module_are_protected(protector: ImageProtector) -> None:
    model = Echo(seen=[])
    await protect(RunnableLambda(functools.partial(_coroutine, model)), protector).ainvoke("x")
    MODULE_MODEL.seen.clear()
    protect(RunnableLambda(_by_module), protector).invoke("x")
    for seen in (model.seen, MODULE_MODEL.seen):
        assert "/9j/" in str(seen)
        assert_no_leak(PICTURE, seen)


def test_a_function_keeps_what_it_does_to_its_module(protector: ImageProtector) -> None:
    before = counted
    protect(RunnableLambda(_counting), protector).invoke("x")
    assert counted == before + 1


class Service:
    """Holds a model where neither LangChain nor we find it."""

    def __init__(self, model: Echo) -> None:
        self.model = model

    def ask(self, value: Any) -> Any:
        return self.model.invoke(value)


def test_a_model_that_nobody_finds_gets_no_original(protector: ImageProtector) -> None:
    service, handler = Service(Echo(seen=[])), Everything()
    with pytest.raises(ProtectionError, match="not protected itself") as caught:
        protect(RunnableLambda(lambda _: service.ask(_question())), protector).invoke(
            "x", {"callbacks": [handler]}
        )
    assert_no_leak(PICTURE, caught.value, handler.events)
    assert not service.model.seen
    # What the protector has put out, it may be asked.
    protect(RunnableLambda(service.ask), protector).invoke(_question())
    assert "/9j/" in str(service.model.seen)


def test_functions_get_originals_and_their_runs_hold_none(protector: ImageProtector) -> None:
    sizes: list[Any] = []
    chain = (
        RunnableLambda(lambda value: {**value, "picture": Image.open(io.BytesIO(value["picture"]))})
        | (lambda value: sizes.append(value["picture"].size) or value["picture"])
        | np.asarray
        | (lambda pixels: sizes.append(pixels.shape) or Image.fromarray(pixels))
        | (lambda picture: picture.save(buffer := io.BytesIO(), "PNG") or buffer.getvalue())
        | (lambda data: {"picture": base64.b64encode(data).decode()})
        | ASK
    )
    model, handler = Echo(seen=[]), Everything()
    protect(chain | model, protector).invoke({"picture": PICTURE}, {"callbacks": [handler]})
    assert sizes == [(24, 24), (24, 24, 3)]
    assert "/9j/" in str(model.seen)
    assert_no_leak(PICTURE, model.seen, handler.events)


def test_what_functions_make_goes_back_to_the_caller(protector: ImageProtector) -> None:
    text = f"<img src='data:image/png;base64,{ENCODED}'>"
    for made in (PICTURE, ENCODED, text, np.arange(3), [*PICTURE], bytes(3000), {"deep": [PICTURE]}):
        runnable = protect(RunnableLambda(lambda _, made=made: made) | RunnablePassthrough(), protector)
        handler = Everything()
        for result in (
            runnable.invoke("x", {"callbacks": [handler]}),
            *runnable.stream("x"),
            runnable.batch(["x"])[0],
        ):
            assert np.array_equal(result, made) if isinstance(made, np.ndarray) else result == made
        assert_no_leak(PICTURE, handler.events)


def test_what_the_caller_gave_stays_sealed(protector: ImageProtector) -> None:
    runnable = protect(RunnableLambda(lambda value: value["picture"]), protector)
    assert runnable.invoke({"picture": PICTURE}).startswith("vpp://")


class Drawing(Echo):
    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        return ChatResult(generations=[ChatGeneration(message=AIMessage([BLOCK]))])


def test_a_picture_that_a_model_drew_passes(protector: ImageProtector) -> None:
    drawn = Drawing(seen=[])
    assert protect(drawn | (lambda answer: answer), protector).invoke("x").content == [BLOCK]
    assert protect(drawn | (lambda answer: [answer]), protector).invoke("x")[0].content == [BLOCK]
    assert protect(drawn | (lambda answer: answer.content[0]["base64"]), protector).invoke("x") == ENCODED


def test_an_answer_that_a_function_has_changed_is_protected(protector: ImageProtector) -> None:
    def add(answer: AIMessage) -> AIMessage:
        answer.content = [BLOCK]
        return answer

    handler = Everything()
    protect(Echo(seen=[]) | add, protector).invoke("x", {"callbacks": [handler]})
    assert_no_leak(PICTURE, handler.events[-1])


class Finding(BaseRetriever):
    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return [Document(ENCODED, metadata={"query": query})]


def _shoot(place: str) -> list[dict[str, Any]]:
    """Take a picture of a place."""
    return [BLOCK] if place else []


@pytest.mark.parametrize("call", ["invoke", "ainvoke", "astream"])
async def test_what_tools_and_retrievers_make_stays_out_of_traces(
    call: str, protector: ImageProtector
) -> None:
    shoot = StructuredTool.from_function(_shoot, name="shoot")
    for first in (
        Finding() | (lambda documents: {"picture": documents[0].page_content}) | ASK,
        shoot | (lambda blocks: [HumanMessage(blocks)]),
    ):
        model, handler = Echo(seen=[]), Everything()
        runnable: Any = protect(first | model, protector)
        config = {"callbacks": [handler]}
        if call == "invoke":
            runnable.invoke("x", config)
        elif call == "ainvoke":
            await runnable.ainvoke("x", config)
        else:
            assert [chunk async for chunk in runnable.astream("x", config)]
        assert "/9j/" in str(model.seen)
        assert_no_leak(PICTURE, model.seen, handler.events)


def test_prompts_and_parsers_that_a_function_refers_to_keep_their_attributes(
    protector: ImageProtector,
) -> None:
    model, handler, parser = Echo(seen=[]), Everything(), StrOutputParser()

    def ask(value: dict[str, Any]) -> str:
        assert ASK.input_variables == ["picture"]
        assert parser.get_name() == "StrOutputParser"
        return parser.invoke(model.invoke(ASK.invoke(value)))

    assert (
        protect(RunnableLambda(ask), protector).invoke({"picture": ENCODED}, {"callbacks": [handler]}) == "ok"
    )
    assert_no_leak(PICTURE, model.seen, handler.events)


async def test_an_error_that_quotes_a_picture_is_withheld(protector: ImageProtector) -> None:
    def fail(value: Any) -> Any:
        raise ValueError(value)

    async def afail(value: Any) -> Any:
        raise ValueError(value)

    runnable, handler = protect(RunnableLambda(fail, afail), protector), Everything()
    with pytest.raises(ProtectionError, match="withheld") as caught:
        runnable.invoke(ENCODED, {"callbacks": [handler]})
    assert caught.value.__context__ is None
    with pytest.raises(ProtectionError, match="withheld"):
        await runnable.ainvoke(ENCODED, {"callbacks": [handler]})
    assert_no_leak(PICTURE, handler.events)
    with pytest.raises(ValueError, match="place"):
        runnable.invoke("a place")


def test_core_injects_what_a_function_asks_for(protector: ImageProtector) -> None:
    def ask(value: str, config: RunnableConfig, run_manager: Any) -> Any:
        return value, config["configurable"]["place"], run_manager is not None

    runnable = protect(RunnableLambda(ask), protector)
    assert runnable.invoke("x", {"configurable": {"place": "here"}}) == ("x", "here", True)
    assert runnable.get_name() == "ask"
    schema = protect(RunnableLambda(lambda value: value["place"]), protector).get_input_schema()
    assert "place" in schema.model_json_schema()["properties"]


def test_protecting_leaves_the_composition_as_it_was(protector: ImageProtector) -> None:
    model = Echo(seen=[])
    chain = RunnableLambda(_question) | ASK.partial(picture=ENCODED).with_config(tags=["t"]) | model
    before = chain.model_copy(deep=True)
    protect(chain, protector)
    protector | chain | model
    assert chain.last is model
    assert type(model) is Echo
    assert chain.middle == before.middle
    assert chain.first.func is _question


def test_two_protectors_do_not_share_what_they_sealed(protector: ImageProtector) -> None:
    handle = protect(RunnablePassthrough(), protector).invoke(PICTURE)
    other = ImageProtector(Pixelate())
    assert protect(RunnableLambda(lambda value: value), other).invoke(handle) == handle
    with pytest.raises(ProtectionError, match="handle"):
        other.protect_messages([HumanMessage([{"type": "image", "url": handle}])])


def _failing_chunks(chunks: Iterator[Any]) -> Iterator[Any]:
    for chunk in chunks:
        raise ValueError(chunk["picture"])
    yield None


async def _afailing_chunks(chunks: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for chunk in chunks:
        raise ValueError(chunk["picture"])
    yield None


def _failing_generator(value: Any) -> Iterator[Any]:
    raise ValueError(value["picture"])
    yield None


async def _failing_async_generator(value: Any) -> AsyncIterator[Any]:
    raise ValueError(value["picture"])
    yield None


@pytest.mark.parametrize(
    "failing",
    [
        RunnableGenerator(_failing_chunks, _afailing_chunks),
        RunnableLambda(_failing_generator, _failing_async_generator),
    ],
    ids=["transform", "generator"],
)
async def test_an_error_of_a_generator_that_quotes_a_picture_is_withheld(
    failing: Any, protector: ImageProtector
) -> None:
    handler = Everything()
    chain: Any = protect(failing | RunnableLambda(str), protector)
    with pytest.raises(ProtectionError, match="withheld") as caught:
        chain.invoke({"picture": ENCODED}, {"callbacks": [handler]})
    with pytest.raises(ProtectionError, match="withheld") as acaught:
        await chain.ainvoke({"picture": ENCODED}, {"callbacks": [handler]})
    for error in (caught.value, acaught.value):
        assert error.__cause__ is None
        assert error.__context__ is None
    assert_no_leak(PICTURE, handler.events)


class MakingParser(BaseOutputParser[Any]):
    def parse(self, text: str) -> Any:
        return ENCODED


class MakingChunks(BaseTransformOutputParser[Any]):
    def parse(self, text: str) -> Any:
        return _question()


class MakingFromAnswers(BaseGenerationOutputParser[Any]):
    def parse_result(self, result: Any, *, partial: bool = False) -> Any:
        return {"picture": PICTURE}


@pytest.mark.parametrize("parser", [MakingParser(), MakingChunks(), MakingFromAnswers()])
@pytest.mark.parametrize("call", ["invoke", "ainvoke"])
async def test_what_a_parser_makes_stays_out_of_traces(
    parser: Any, call: str, protector: ImageProtector
) -> None:
    model, handler = Echo(seen=[]), Everything()

    def show(made: Any) -> Any:
        if isinstance(made, list):
            return made
        encoded = made if isinstance(made, str) else base64.b64encode(made["picture"]).decode()
        return [HumanMessage([{**BLOCK, "base64": encoded}])]

    chain: Any = protect(model | parser | show | model, protector)
    result = getattr(chain, call)("x", {"callbacks": [handler]})
    if call == "ainvoke":
        await result
    assert "/9j/" in str(model.seen)
    assert_no_leak(PICTURE, model.seen, handler.events)


@pytest.mark.parametrize("on_unsupported", ["raise", "drop"])
@pytest.mark.parametrize("data", [ENCODED, {"deep": [PICTURE]}, f"See {ENCODED}", _question()])
def test_an_event_with_an_original_is_not_dispatched(data: Any, on_unsupported: Any) -> None:
    def tell(value: Any) -> Any:
        dispatch_custom_event("made", data)
        return value

    handler = Everything()
    protector = ImageProtector(Pixelate(), on_unsupported=on_unsupported)
    with pytest.raises(ProtectionError):
        protect(RunnableLambda(tell), protector).invoke("x", {"callbacks": [handler]})
    assert_no_leak(PICTURE, handler.events)


def test_an_event_with_a_protected_picture_is_dispatched(protector: ImageProtector) -> None:
    def tell(messages: Any) -> Any:
        dispatch_custom_event("seen", {"messages": messages, "progress": 0.5})
        return "done"

    handler = Everything()
    chain = protect(RunnableLambda(tell), protector)
    assert chain.invoke(_question(), {"callbacks": [handler]}) == "done"
    assert "on_custom_event" in str(handler.events)


class ToolWithModel(BaseTool):
    name: str = "ask"
    description: str = "Ask."

    def _run(self, query: str) -> Any:
        return MODULE_MODEL.invoke(_question(query)).text


def test_a_model_that_a_method_of_a_tool_refers_to_is_protected(protector: ImageProtector) -> None:
    MODULE_MODEL.seen.clear()
    assert (
        protect(RunnableLambda(lambda text: {"query": text}) | ToolWithModel(), protector).invoke("x") == "ok"
    )
    assert "/9j/" in str(MODULE_MODEL.seen)
    assert_no_leak(PICTURE, MODULE_MODEL.seen)


def _pieces(whole: Any, size: int) -> list[Any]:
    return [whole[start : start + size] for start in range(0, len(whole), size)]


STREAMS: dict[str, list[Any]] = {
    **{f"text by {size}": _pieces(ENCODED, size) for size in (1, 7, 30, 39, 500)},
    "bytes": _pieces(PICTURE, 20),
    "url": _pieces(f"data:image/png;base64,{ENCODED}", 30),
    "lines": [line + "\n" for line in _pieces(ENCODED, 38)],
    "hex": _pieces(PICTURE.hex(), 30),
    "numbers": [f"{value}, " for value in PICTURE],
    "behind a long text": ["x" * 600, "Here it is: ", *_pieces(ENCODED, 30)],
    "between other texts": [each for piece in _pieces(ENCODED, 30) for each in (piece, "")],
    "mappings": [AddableDict(a=piece, b="x") for piece in _pieces(ENCODED, 30)],
    "messages": [AIMessageChunk(piece) for piece in _pieces(ENCODED, 30)],
    "blocks": [
        AIMessageChunk([{"type": "text", "text": piece, "index": 0}]) for piece in _pieces(ENCODED, 30)
    ],
    "lists": [[piece] for piece in _pieces(ENCODED, 30)],
    "numbers in two streams": [
        AddableDict({str(i % 2): f"{value}, "}) for value in PICTURE for i in range(2)
    ],
    "after a first piece that is one": [ENCODED[:900], *_pieces(ENCODED[900:], 30)],
    "short": _pieces(base64.b64encode(small_gif()).decode(), 30),
}


def _streaming(kind: str, chunks: list[Any], given: list[Any]) -> Any:
    def give(_: Any) -> Iterator[Any]:
        for chunk in chunks:
            given.append(chunk)
            yield chunk

    async def agive(_: Any) -> AsyncIterator[Any]:
        for chunk in chunks:
            given.append(chunk)
            yield chunk

    return {
        "lambda": RunnableLambda(give),
        "async lambda": RunnableLambda(agive),
        "generator": RunnableGenerator(give),
        "async generator": RunnableGenerator(agive),
    }[kind]


@pytest.mark.slow(seconds=2)
@pytest.mark.parametrize("kind", ["lambda", "async lambda", "generator", "async generator"])
@pytest.mark.parametrize("name", STREAMS)
async def test_a_picture_in_pieces_is_stopped_at_its_beginning(
    name: str, kind: str, protector: ImageProtector
) -> None:
    handler, given = Everything(), []
    chain = protect(_streaming(kind, STREAMS[name], given) | RunnableLambda(lambda _: "seen"), protector)

    async def collect() -> None:
        if kind.startswith("async"):
            async for _ in chain.astream("x", {"callbacks": [handler]}):
                pass
        else:
            list(chain.stream("x", {"callbacks": [handler]}))

    with pytest.raises(ProtectionError, match="in pieces"):
        await collect()
    assert not [event for event in handler.events if event[0] == "on_chain_end"]
    if name.startswith("text by"):
        assert sum(map(len, given)) <= 1_000
    if name != "short":
        assert_no_leak(PICTURE, handler.events)


def test_chunks_of_text_and_whole_pictures_pass(protector: ImageProtector) -> None:
    given = [
        "Hello", ", wor", "ld! ", ENCODED, "cat", " and ", ENCODED, ENCODED, "x" * 600, "0123456789" * 9, PICTURE,
        *("is what it shows and a dog that looks at a cat on the mat of the old house".partition(" ") * 4), ENCODED,
        *(f"{number:032x} is a digest.\n" for number in range(40)),
    ]  # fmt: skip

    def give(_: Any) -> Iterator[Any]:
        yield from given

    assert list(protect(RunnableGenerator(give), protector).stream("x")) == given
    assert list(protect(RunnableLambda(give), protector).stream("x")) == given
