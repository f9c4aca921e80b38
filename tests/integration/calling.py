"""Every way to call a Runnable, and everything that could keep an original of the call."""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_debug, set_llm_cache
from langchain_core.prompt_values import ChatPromptValue
from langchain_core.tracers import LangChainTracer
from langsmith import Client

from langchain_vpp.testing import assert_no_leak
from tests.callbacks import Everything

if TYPE_CHECKING:
    from .recording import Recorder

# Entry points. Each returns everything that the caller gets to see.


def invoke(runnable: Any, value: Any, config: Any) -> Any:
    return runnable.invoke(value, config)


async def ainvoke(runnable: Any, value: Any, config: Any) -> Any:
    return await runnable.ainvoke(value, config)


def batch(runnable: Any, value: Any, config: Any) -> Any:
    return runnable.batch([value, value], config)


async def abatch(runnable: Any, value: Any, config: Any) -> Any:
    return await runnable.abatch([value, value], config)


def batch_as_completed(runnable: Any, value: Any, config: Any) -> Any:
    return list(runnable.batch_as_completed([value, value], config))


async def abatch_as_completed(runnable: Any, value: Any, config: Any) -> Any:
    return [item async for item in runnable.abatch_as_completed([value, value], config)]


def stream(runnable: Any, value: Any, config: Any) -> Any:
    return list(runnable.stream(value, config))


async def astream(runnable: Any, value: Any, config: Any) -> Any:
    return [chunk async for chunk in runnable.astream(value, config)]


def transform(runnable: Any, value: Any, config: Any) -> Any:
    return list(runnable.transform(iter([value]), config))


async def atransform(runnable: Any, value: Any, config: Any) -> Any:
    async def values() -> Any:
        yield value

    return [chunk async for chunk in runnable.atransform(values(), config)]


def stream_events_v3(runnable: Any, value: Any, config: Any) -> Any:
    stream = runnable.stream_events(value, config, version="v3")
    return [list(stream), stream.output]


async def astream_events_v1(runnable: Any, value: Any, config: Any) -> Any:
    return [event async for event in runnable.astream_events(value, config, version="v1")]


async def astream_events_v2(runnable: Any, value: Any, config: Any) -> Any:
    return [event async for event in runnable.astream_events(value, config, version="v2")]


async def astream_events_v3(runnable: Any, value: Any, config: Any) -> Any:
    stream = await runnable.astream_events(value, config, version="v3")
    return [event async for event in stream]


async def astream_log(runnable: Any, value: Any, config: Any) -> Any:
    return [patch async for patch in runnable.astream_log(value, config)]


async def astream_log_state(runnable: Any, value: Any, config: Any) -> Any:
    return [patch async for patch in runnable.astream_log(value, config, diff=False)]


def with_listeners(runnable: Any, value: Any, config: Any) -> Any:
    heard: list[Any] = []
    listening = runnable.with_listeners(on_start=heard.append, on_end=heard.append, on_error=heard.append)
    return [listening.invoke(value, config), heard]


async def with_alisteners(runnable: Any, value: Any, config: Any) -> Any:
    heard: list[Any] = []

    async def listen(run: Any) -> None:
        heard.append(run)

    listening = runnable.with_alisteners(on_start=listen, on_end=listen, on_error=listen)
    return [await listening.ainvoke(value, config), heard]


def generate(model: Any, value: Any, config: Any) -> Any:
    return model.generate([value, value], callbacks=config["callbacks"])


async def agenerate(model: Any, value: Any, config: Any) -> Any:
    return await model.agenerate([value, value], callbacks=config["callbacks"])


def generate_prompt(model: Any, value: Any, config: Any) -> Any:
    return model.generate_prompt([ChatPromptValue(messages=value)], callbacks=config["callbacks"])


async def agenerate_prompt(model: Any, value: Any, config: Any) -> Any:
    return await model.agenerate_prompt([ChatPromptValue(messages=value)], callbacks=config["callbacks"])


def call_private_generate(model: Any, value: Any, config: Any) -> Any:
    return model._generate(value)


async def call_private_agenerate(model: Any, value: Any, config: Any) -> Any:
    return await model._agenerate(value)


def call_private_stream(model: Any, value: Any, config: Any) -> Any:
    return list(model._stream(value))


async def call_private_astream(model: Any, value: Any, config: Any) -> Any:
    return [chunk async for chunk in model._astream(value)]


ENTRIES = (
    invoke,
    ainvoke,
    batch,
    abatch,
    batch_as_completed,
    abatch_as_completed,
    stream,
    astream,
    transform,
    atransform,
    stream_events_v3,
    astream_events_v1,
    astream_events_v2,
    astream_events_v3,
    astream_log,
    astream_log_state,
    with_listeners,
    with_alisteners,
)
MODEL_ENTRIES = (
    generate,
    agenerate,
    generate_prompt,
    agenerate_prompt,
    call_private_generate,
    call_private_agenerate,
    call_private_stream,
    call_private_astream,
)


class KeepingCache(InMemoryCache):
    """Keeps the keys too."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[str] = []

    def lookup(self, prompt: str, llm_string: str) -> Any:
        self.keys += [prompt, llm_string]
        return super().lookup(prompt, llm_string)


@dataclass
class Sinks:
    """Everything that could keep an original, after one call."""

    wire: list[bytes]
    langsmith: list[bytes]
    callbacks: list[Any]
    cache: list[Any]
    stdout: str
    yielded: Any


class Servers(NamedTuple):
    """A provider and a LangSmith server that keep what they get."""

    provider: Recorder
    langsmith: Recorder


async def call(
    entry: Any, runnable: Any, value: Any, servers: Servers, config: dict[str, Any] | None = None
) -> Sinks:
    """Call ``runnable`` once with all sinks attached."""
    provider, langsmith = servers
    provider.clear()
    langsmith.clear()
    handler = Everything()
    cache = KeepingCache()
    client = Client(api_url=langsmith.url, api_key="k", auto_batch_tracing=False)
    config = {**(config or {}), "callbacks": [handler, LangChainTracer(client=client)]}
    printed = io.StringIO()
    set_llm_cache(cache)
    set_debug(True)
    try:
        with contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.filterwarnings("ignore", message=".*(beta|deprecated)")
            yielded = entry(runnable, value, config)
            if hasattr(yielded, "__await__"):
                yielded = await yielded
    finally:
        set_debug(False)
        set_llm_cache(None)
        client.close()
    seen = [cache.keys, cache._cache]
    return Sinks(provider.wire, langsmith.wire, handler.events, seen, printed.getvalue(), yielded)


def leaks(canary: bytes, sink: Any) -> bool:
    """Say whether a sink holds a picture."""
    try:
        assert_no_leak(canary, sink)
    except AssertionError:
        return True
    return False
