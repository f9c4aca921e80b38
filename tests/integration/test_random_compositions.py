"""Random compositions around a real chat model: whatever is composed with a protector, no sink holds an original.

A composition is a tree of sequences, pipes, fallbacks, branches, parallels, alternatives, bindings, retries, maps,
closures and functions on the left, in any order. A picture is in its input, in the variables of a prompt, or made on
its way. The tree is protected in one of the ways in which users do it, and called in one of the ways in which it can
be.
"""

from __future__ import annotations

import base64
import io
import logging
import random
from collections.abc import Callable
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import (
    ConfigurableField,
    Runnable,
    RunnableBranch,
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
    RunnableSequence,
)
from langchain_openai import ChatOpenAI
from PIL import Image

from langchain_vpp import ImageProtector, protect
from langchain_vpp.engines import Pixelate

from .calling import (
    Servers,
    abatch,
    ainvoke,
    astream,
    astream_events_v2,
    batch,
    call,
    invoke,
    leaks,
    stream,
    with_listeners,
)
from .recording import noise_png, picture_digests, recording_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

# A few seconds. The large run: 2,000.
TREES = 36
DEPTH = 3

CANARY = noise_png(5)
ENCODED = base64.b64encode(CANARY).decode()
URL = f"data:image/png;base64,{ENCODED}"
ENTRIES = (invoke, ainvoke, stream, astream, batch, abatch, astream_events_v2, with_listeners)
Build = Callable[[random.Random, ChatOpenAI, int], Runnable[Any, Any]]

BLOCKS: tuple[dict[str, Any], ...] = (
    {"type": "image", "base64": ENCODED, "mime_type": "image/png"},
    {"type": "image_url", "image_url": {"url": URL}},
    {"type": "image", "source_type": "base64", "data": ENCODED, "mime_type": "image/png"},
)
TEMPLATES = tuple(
    ChatPromptTemplate([("human", [{"type": "text", "text": "{question}"}, block])])
    for block in (
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,{picture}"}},
        {"type": "image", "base64": "{picture}", "mime_type": "image/png"},
    )
)
INPUTS: tuple[Any, ...] = (
    "What is this?",
    [HumanMessage([BLOCKS[0]])],
    {"question": "What is this?", "picture": ENCODED},
    {"question": "What is this?", "picture": CANARY},
    {"question": "What is this?", "picture": [{"deep": URL}]},
    {"question": "What is this?", "picture": Image.open(io.BytesIO(CANARY))},
)


class OwnSequence(RunnableSequence[Any, Any]):
    """A sequence from elsewhere."""


class OwnRunnable(Runnable[Any, Any]):
    """A Runnable that holds another one, and opens no run."""

    def __init__(self, held: Runnable[Any, Any]) -> None:
        self.held = {"inner": [held]}

    def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:  # noqa: A002
        return self.held["inner"][0].invoke(input, config, **kwargs)

    async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:  # noqa: A002
        return await self.held["inner"][0].ainvoke(input, config, **kwargs)


# Runnables from anything to messages with the picture.


def _question(block: dict[str, Any]) -> list[BaseMessage]:
    return [HumanMessage("Hello."), AIMessage("Hello."), HumanMessage([{"type": "text", "text": "?"}, block])]


def _function(rng: random.Random, model: ChatOpenAI, depth: int) -> Runnable[Any, Any]:
    block = rng.choice(BLOCKS)

    async def make(_: Any) -> list[BaseMessage]:
        return _question(block)

    return RunnableLambda(lambda _: _question(block), make if rng.random() < 0.5 else None)


def _generator(rng: random.Random, model: ChatOpenAI, depth: int) -> Runnable[Any, Any]:
    block = rng.choice(BLOCKS)

    def make(chunks: Iterator[Any]) -> Iterator[Any]:
        list(chunks)
        yield _question(block)

    async def amake(chunks: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for _ in chunks:
            pass
        yield _question(block)

    return RunnableGenerator(make, amake)


def _partial(rng: random.Random, model: ChatOpenAI, depth: int) -> Runnable[Any, Any]:
    picture: Any = ENCODED if rng.random() < 0.5 else lambda: ENCODED
    ask = RunnableLambda(lambda _: {"question": "?"})
    return ask | rng.choice(TEMPLATES).partial(picture=picture)


def _variables(rng: random.Random, model: ChatOpenAI, depth: int) -> Runnable[Any, Any]:
    picture: Any = RunnableLambda(lambda _: CANARY) | (lambda data: base64.b64encode(data).decode())
    parts = {"question": lambda _: "?", "picture": picture}
    if rng.random() < 0.5:
        return parts | rng.choice(TEMPLATES)
    return (
        RunnablePassthrough() | (lambda _: {}) | RunnablePassthrough.assign(**parts) | rng.choice(TEMPLATES)
    )


def _after_an_answer(rng: random.Random, model: ChatOpenAI, depth: int) -> Runnable[Any, Any]:
    return answer(rng, model, depth - 1) | question(rng, model, depth - 1)


def _wrapped(rng: random.Random, model: ChatOpenAI, depth: int) -> Runnable[Any, Any]:
    return _around(rng, question(rng, model, depth - 1), lambda: question(rng, model, depth - 1))


# Runnables from anything to the answer of a model.


def _asked(rng: random.Random, model: ChatOpenAI, depth: int) -> Runnable[Any, Any]:
    asked: Runnable[Any, Any] = rng.choice(
        (
            model,
            model.bind(stop=["x"]),
            model.with_config(tags=["t"]),
            model.with_retry(),
            model | StrOutputParser(),
        )
    )
    first = question(rng, model, depth - 1)
    return rng.choice((lambda: first | asked, lambda: first.pipe(asked), lambda: OwnSequence(first, asked)))()


def _closure(rng: random.Random, model: ChatOpenAI, depth: int) -> Runnable[Any, Any]:
    first, block = question(rng, model, depth - 1), rng.choice(BLOCKS)
    chain = first | model
    return rng.choice(
        (
            RunnableLambda(lambda _: model.invoke(_question(block))),
            RunnableLambda(lambda value: model.invoke(first.invoke(value))),
            RunnableLambda(chain.invoke),
            RunnableLambda(lambda _: chain),
            RunnableLambda(lambda value, held=[chain]: held[0].invoke(value)),
        )
    )


def _answered(rng: random.Random, model: ChatOpenAI, depth: int) -> Runnable[Any, Any]:
    return _around(rng, answer(rng, model, depth - 1), lambda: answer(rng, model, depth - 1))


def _fail(_: Any) -> Any:
    raise OSError


def _around(
    rng: random.Random, inner: Runnable[Any, Any], other: Callable[[], Runnable[Any, Any]]
) -> Runnable[Any, Any]:
    """Put one of LangChain's compositions around a Runnable, so that the same comes out."""
    which = ConfigurableField(id=f"which_{rng.randrange(10**9)}")
    ways: tuple[Callable[[], Runnable[Any, Any]], ...] = (
        lambda: inner | (lambda value: value),
        lambda: RunnablePassthrough() | inner,
        lambda: (lambda value: value) | inner,
        lambda: {"one": inner, "other": RunnablePassthrough()} | RunnableLambda(itemgetter("one")),
        lambda: RunnableParallel(one=inner).pick("one"),
        lambda: RunnableBranch((lambda _: rng is None, other()), inner),
        lambda: RunnableLambda(_fail).with_fallbacks([inner]),
        lambda: inner.with_retry(stop_after_attempt=2),
        lambda: inner.with_config(run_name="named"),
        lambda: inner.with_listeners(on_start=lambda _: None),
        lambda: RunnableLambda(lambda value: [value, value]) | inner.map() | itemgetter(0),
        lambda: RunnableLambda(lambda _: inner),
        lambda: inner.with_types(output_type=Any),  # type: ignore[arg-type]
        lambda: (
            inner.bind()
            .configurable_alternatives(which, chosen=lambda: inner)
            .with_config(configurable={which.id: "chosen"})
        ),
        lambda: OwnRunnable(inner),
        lambda: OwnSequence(RunnablePassthrough(), inner),
    )
    return rng.choice(ways)()


def question(rng: random.Random, model: ChatOpenAI, depth: int) -> Runnable[Any, Any]:
    leaves: tuple[Build, ...] = (_function, _generator, _partial, _variables)
    return rng.choice(leaves if depth <= 0 else (*leaves, _after_an_answer, _wrapped, _wrapped))(
        rng, model, depth
    )


def answer(rng: random.Random, model: ChatOpenAI, depth: int) -> Runnable[Any, Any]:
    leaves: tuple[Build, ...] = (_asked, _closure)
    return rng.choice(leaves if depth <= 0 else (*leaves, _answered, _answered))(rng, model, depth)


ASK = RunnableLambda(lambda _: "Hello.")
Protect = Callable[[Runnable[Any, Any]], Runnable[Any, Any]]


def _composed(rng: random.Random, model: ChatOpenAI, wrap: Protect) -> Runnable[Any, Any]:
    """Compose two random trees, of which ``wrap`` protects one, in one of the ways in."""
    first, second = question(rng, model, DEPTH), answer(rng, model, DEPTH)
    which = ConfigurableField(id="way")
    alternative: Any = second if rng.random() < 0.5 else lambda: second
    ways: tuple[Callable[[], Runnable[Any, Any]], ...] = (
        lambda: wrap(second),
        lambda: wrap(first | second),
        lambda: wrap(first) | second,
        lambda: wrap(first).pipe(second, StrOutputParser()),
        lambda: wrap(ASK | model) | first | model,
        lambda: wrap(ASK | model.bind(stop=["x"])).pipe(first, model),
        lambda: wrap(first) | (lambda value: value) | second,
        lambda: (lambda value: value) | wrap(second),
        lambda: {"value": first} | wrap(RunnableLambda(itemgetter("value")) | model),
        lambda: wrap(RunnableLambda(_fail)).with_fallbacks([second]),
        lambda: (
            wrap(model)
            .configurable_alternatives(which, chosen=alternative)
            .with_config(configurable={"way": "chosen"})
        ),
        lambda: wrap(RunnablePassthrough()) | {"one": first, "other": second} | itemgetter("one") | model,
        lambda: wrap(RunnablePassthrough()).with_retry().with_listeners(on_end=lambda _: None) | second,
        lambda: wrap(RunnableLambda(lambda value: {"value": value})).assign(answer=second).pick("answer"),
    )
    return rng.choice(ways)()


@pytest.fixture(scope="module")
def servers():
    with recording_server() as provider, recording_server() as langsmith:
        yield Servers(provider, langsmith)


def _protected(runnable: Runnable[Any, Any], protector: ImageProtector, rng: random.Random) -> Any:
    return protect(runnable, protector) if rng.random() < 0.5 else protector | runnable


@pytest.mark.network
@pytest.mark.parametrize("part", range(6))
async def test_no_random_composition_lets_an_original_out(
    part: int, servers: Servers, caplog: pytest.LogCaptureFixture
) -> None:
    model = ChatOpenAI(model="m", base_url=f"{servers.provider.url}/v1", api_key="k", max_retries=0)
    seen = 0
    for seed in range(part, TREES, 6):
        rng = random.Random(seed)
        protector = ImageProtector(Pixelate(), level=0.7)
        runnable = _composed(rng, model, lambda part, rng=rng, own=protector: _protected(part, own, rng))
        value, entry = rng.choice(INPUTS), rng.choice(ENTRIES)
        if seed % 3 == 0:
            value = INPUTS[1]
        with caplog.at_level(logging.DEBUG):
            caplog.clear()
            sinks = await call(entry, runnable, value, servers)
        told = f"seed {seed}, {entry.__name__}"
        assert sinks.wire, told
        assert any(picture_digests(request.json) for request in servers.provider.requests), told
        for sink in ("wire", "langsmith", "callbacks", "cache", "stdout", "yielded"):
            assert not leaks(CANARY, getattr(sinks, sink)), f"{told}: the original is in {sink}"
        assert not leaks(CANARY, caplog.text), f"{told}: the original is in the logs"
        seen += 1
    assert seen == len(range(part, TREES, 6))


@pytest.mark.network
async def test_the_same_compositions_without_a_protector_leak(servers: Servers) -> None:
    model = ChatOpenAI(model="m", base_url=f"{servers.provider.url}/v1", api_key="k", max_retries=0)
    for seed in range(0, 15, 3):
        runnable = _composed(random.Random(seed), model, lambda bare: bare)
        sinks = await call(ainvoke, runnable, INPUTS[1], servers)
        assert leaks(CANARY, sinks.wire), f"seed {seed}: the harness does not see the wire"
        assert leaks(CANARY, sinks.langsmith), f"seed {seed}: the harness does not see traces"
