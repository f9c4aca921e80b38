"""The middleware in real agents: its place, the whole state, and what inner middlewares add."""

from __future__ import annotations

import base64
import copy
import operator
import pickle
import warnings
from typing import Annotated, Any, NotRequired

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_core.tracers import BaseTracer

from langchain_vpp import ImageProtector, ProtectionError, protect
from langchain_vpp.engines import Pixelate
from langchain_vpp.testing import assert_no_leak
from tests.callbacks import Everything
from tests.unit.langchain_vpp.runnables.models import BLOCK, ENCODED, MESSAGE, PICTURE, Echo

pytest.importorskip("langchain")
from langchain.agents import create_agent
from langchain.agents import middleware as builtin
from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest
from langgraph.channels import Topic
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph.message import add_messages

from langchain_vpp.middleware import VisualPrivacyMiddleware

decisions = pytest.importorskip("langchain_core.decisions")

HOOKS = ["before_agent", "before_model", "wrap_model_call", "wrap_tool_call"]
LATER_HOOKS = ["after_model", "after_agent"]
OTHER = HumanMessage([BLOCK], id="added")


@pytest.fixture
def protector() -> ImageProtector:
    return ImageProtector(Pixelate(), level=0.7, on_upstream_trace="ignore")


class Judge(decisions.BaseDecisionModel):
    """A decision model that keeps what it would send."""

    sent: list[Any] = []  # noqa: RUF012

    @property
    def _provider(self) -> str:
        return "test"

    def _classify(self, state: Any, questions: Any) -> Any:
        self.sent.append(state)
        answer = {"type": "choice", "choice": "a", "probabilities": {"a": 1.0}, "confidence": 1.0}
        return decisions.ClassifierResponse(model="m", answers=dict.fromkeys(questions, answer))


async def _run(agent: Any, state: Any, config: Any = None, *, is_async: bool) -> Any:
    return await agent.ainvoke(state, config) if is_async else agent.invoke(state, config)


def _state(**others: Any) -> dict[str, Any]:
    return {"messages": [HumanMessage([{"type": "text", "text": "What?"}, BLOCK])], **others}


# The place in the list.


def _middleware_with(hook: str) -> AgentMiddleware[Any, Any, Any]:
    return type("Spy", (AgentMiddleware,), {hook: lambda *_: None})()


@pytest.mark.parametrize("hook", [prefix + hook for hook in HOOKS for prefix in ("", "a")])
def test_it_refuses_to_stand_behind_hooks_that_run_earlier(hook: str, protector: ImageProtector) -> None:
    ours, spy = VisualPrivacyMiddleware(protector), _middleware_with(hook)
    with pytest.raises(ProtectionError, match=r"Spy stands before .* Put VisualPrivacyMiddleware first"):
        create_agent(Echo(seen=[]), middleware=[spy, ours])
    with pytest.raises(ProtectionError, match="Spy"):
        create_agent(Echo(seen=[]), middleware=(_middleware_with("after_model"), *[spy], ours))
    create_agent(Echo(seen=[]), middleware=[ours, spy])


@pytest.mark.parametrize("hook", [prefix + hook for hook in LATER_HOOKS for prefix in ("", "a")])
def test_it_may_stand_behind_hooks_that_run_later(hook: str, protector: ImageProtector) -> None:
    middlewares = [_middleware_with(hook), VisualPrivacyMiddleware(protector)]
    create_agent(Echo(seen=[]), middleware=middlewares)


def _routers() -> list[AgentMiddleware[Any, Any, Any]]:
    judge, model = Judge(model="m", sent=[]), Echo(seen=[])
    choices = {"a": builtin.ModelChoice(model=model, criteria="all")}
    return [
        builtin.ModelRouterMiddleware(choices=choices, instructions="Which?", classifier=judge),
        builtin.AutoModeMiddleware(tools=["t"], classifier=judge),
        builtin.SummarizationMiddleware(model, trigger=("messages", 5)),
        builtin.ModelFallbackMiddleware(model),
        builtin.LLMToolSelectorMiddleware(model=model),
    ]


@pytest.mark.parametrize("router", _routers(), ids=lambda each: type(each).__name__)
def test_no_router_stands_before_it(router: Any, protector: ImageProtector) -> None:
    with pytest.raises(ProtectionError, match=type(router).__name__):
        create_agent(Echo(seen=[]), middleware=[router, VisualPrivacyMiddleware(protector)])
    create_agent(Echo(seen=[]), middleware=[VisualPrivacyMiddleware(protector), router])


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_router_behind_it_sees_protected_pictures(
    protector: ImageProtector, *, is_async: bool
) -> None:
    judge, routed, bare = Judge(model="m", sent=[]), Echo(seen=[]), Echo(seen=[])
    router = builtin.ModelRouterMiddleware(
        choices={"a": builtin.ModelChoice(model=routed, criteria="all")},
        instructions="Which?",
        classifier=judge,
    )
    agent = create_agent(bare, middleware=[VisualPrivacyMiddleware(protector), router])
    result = await _run(agent, _state(), is_async=is_async)
    assert judge.sent
    assert routed.seen
    assert not bare.seen
    assert_no_leak(PICTURE, judge.sent, routed.seen, result)


# The state.


class State(AgentState[Any]):
    """Keys of every kind."""

    shot: NotRequired[Any]
    shots: NotRequired[Annotated[list[Any], operator.add]]
    history: NotRequired[Annotated[list[Any], add_messages]]
    newest: NotRequired[Annotated[Any, lambda old, new: new]]


@pytest.mark.slow(seconds=0.07)
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    "given",
    [
        {"shot": PICTURE},
        {"shot": ENCODED},
        {"shot": {"rows": [{"thumbnail": f"data:image/png;base64,{ENCODED}"}]}},
        {"shot": Document("x", metadata={"picture": ENCODED})},
        {"shot": [MESSAGE, "and text"]},
        {"shots": [PICTURE, "text", BLOCK]},
        {"shots": [MESSAGE, AIMessage("ok")]},
        {"history": [MESSAGE, HumanMessage("Hi.")]},
        {"newest": BLOCK},
        {"shot": PICTURE, "shots": [ENCODED], "history": [MESSAGE], "newest": [BLOCK]},
    ],
)
async def test_every_key_of_the_state_is_cleaned(
    given: dict[str, Any], protector: ImageProtector, *, is_async: bool
) -> None:
    seen: list[Any] = []

    class Reader(AgentMiddleware[Any, Any, Any]):
        def before_agent(self, state: Any, runtime: Any) -> None:
            seen.append(dict(state))

    saver = InMemorySaver()
    agent = create_agent(
        Echo(seen=[]),
        middleware=[VisualPrivacyMiddleware(protector), Reader()],
        state_schema=State,
        checkpointer=saver,
    )
    config: Any = {"configurable": {"thread_id": "1"}}
    result = await _run(agent, _state(**given), config, is_async=is_async)
    assert_no_leak(PICTURE, seen, result, agent.get_state(config).values)
    for key, value in given.items():
        assert type(result[key]) is type(value)
        if isinstance(value, list):
            assert len(result[key]) == len(value)
    assert str(result).count("/9j/") + str(result).count("\\xff\\xd8\\xff") > 1, "pictures are still there"


def test_a_state_without_originals_is_not_written_to(protector: ImageProtector) -> None:
    agent = create_agent(Echo(seen=[]), middleware=[VisualPrivacyMiddleware(protector)], state_schema=State)
    (message,) = protector.protect_messages([HumanMessage([BLOCK], id="1")])
    state = {
        "messages": [message], "shot": {"data": base64.b64decode(message.content[0]["base64"])},  # type: ignore[index]
        "shots": [message.content[0]["base64"], {"connection": None}],  # type: ignore[index]
    }  # fmt: skip
    updates = list(agent.stream(state, stream_mode="updates"))
    assert all(not update for part in updates for name, update in part.items() if name != "model")


def test_a_key_that_keeps_all_that_was_written_is_refused(protector: ImageProtector) -> None:
    class Keeping(AgentState[Any]):
        log: NotRequired[Annotated[list[Any], Topic(Any, accumulate=True)]]

    model = Echo(seen=[])
    agent = create_agent(model, middleware=[VisualPrivacyMiddleware(protector)], state_schema=Keeping)
    with pytest.raises(ProtectionError, match="under 'log'"):
        agent.invoke(_state(log=ENCODED))
    assert not model.seen


def test_one_middleware_may_serve_agents_with_the_same_keys_only(protector: ImageProtector) -> None:
    class Other(AgentState[Any]):
        shots: NotRequired[Any]

    ours = VisualPrivacyMiddleware(protector)
    agent = create_agent(Echo(seen=[]), middleware=[ours], state_schema=State)
    assert_no_leak(PICTURE, agent.invoke(_state(shots=[PICTURE])))
    create_agent(Echo(seen=[]), middleware=[ours], state_schema=Other)
    with pytest.raises(ProtectionError, match="under 'shots'"):
        agent.invoke(_state(shots=[PICTURE]))


def test_what_can_only_be_refused_names_the_key(protector: ImageProtector) -> None:
    model = Echo(seen=[])
    agent = create_agent(model, middleware=[VisualPrivacyMiddleware(protector)], state_schema=State)
    with pytest.raises(ProtectionError, match="under 'shot'") as caught:
        agent.invoke(_state(shot=f"See {ENCODED}"))
    assert not model.seen
    assert_no_leak(PICTURE, caught.value.args)


# What inner middlewares add.


def _added(request: ModelRequest[Any]) -> list[Any]:
    return [*request.messages, OTHER]


def _in_place(request: ModelRequest[Any], model: Any) -> ModelRequest[Any]:
    request.messages.append(OTHER)
    return request.override(model=model)


def _by_attribute(request: ModelRequest[Any], model: Any) -> ModelRequest[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        request.model = model
        request.messages = _added(request)
    return request


def _anew(request: ModelRequest[Any], model: Any) -> ModelRequest[Any]:
    return ModelRequest(model=model, messages=_added(request), state=request.state, runtime=request.runtime)


def _called_itself(request: ModelRequest[Any], model: Any) -> ModelRequest[Any]:
    model.invoke(_added(request))
    return request


def _decided_itself(request: ModelRequest[Any], model: Any) -> ModelRequest[Any]:
    question = decisions.Choice(instructions="Which?", criteria={"a": None})
    model.judge.invoke({"state": [OTHER], "questions": {"q": question}})
    return request


def _completed_itself(request: ModelRequest[Any], model: Any) -> ModelRequest[Any]:
    model.completer.invoke(f"See {ENCODED}")
    return request


class Model(Echo):
    """A bare model that an inner middleware holds, with others."""

    judge: Any = None
    completer: Any = None


class Completing(FakeListLLM):
    responses: list[str] = ["ok"]  # noqa: RUF012
    seen: list[Any] = []  # noqa: RUF012

    def _call(self, prompt: str, *args: Any, **kwargs: Any) -> str:
        self.seen.append(prompt)
        return "ok"


ADDITIONS: dict[str, Any] = {
    "override": lambda request, model: request.override(messages=_added(request)),
    "override twice": lambda request, model: request.override(model=model).override(messages=_added(request)),
    "override both": lambda request, model: request.override(messages=_added(request), model=model),
    "override bound": lambda request, model: request.override(
        messages=_added(request), model=model.with_config(tags=["t"])
    ),
    "system": lambda request, model: request.override(system_message=SystemMessage([BLOCK]), model=model),
    "in place": _in_place,
    "attribute": _by_attribute,
    "settings": lambda request, model: request.override(model_settings={"shot": ENCODED}, model=model),
    "anew": _anew,
    "anew, bound": lambda request, model: _anew(request, model.with_config(tags=["t"])),
    "called itself": _called_itself,
    "decided itself": _decided_itself,
    "completed itself": _completed_itself,
}
REFUSED = {"settings", "anew", "anew, bound", "called itself", "decided itself", "completed itself"}


@pytest.mark.slow(seconds=0.04)
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("name", ADDITIONS)
async def test_an_inner_middleware_cannot_send_a_picture_that_it_adds(
    name: str, protector: ImageProtector, *, is_async: bool
) -> None:
    held = Model(seen=[], judge=Judge(model="m", sent=[]), completer=Completing(seen=[]))

    class Adding(AgentMiddleware[Any, Any, Any]):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            return handler(ADDITIONS[name](request, held))

        async def awrap_model_call(self, request: Any, handler: Any) -> Any:
            return await handler(ADDITIONS[name](request, held))

    own = Echo(seen=[])
    agent = create_agent(own, middleware=[VisualPrivacyMiddleware(protector), Adding()])
    if name in REFUSED:
        with pytest.raises(ProtectionError):
            await _run(agent, _state(), is_async=is_async)
    else:
        await _run(agent, _state(), is_async=is_async)
        (sent,) = [*own.seen, *held.seen]
        assert str(sent).count("/9j/") == 2, "a picture was not sent"
    assert_no_leak(PICTURE, own.seen, held.seen, held.judge.sent, held.completer.seen)


@pytest.mark.parametrize("is_async", [False, True])
async def test_models_that_inner_middlewares_hold_may_judge_what_is_protected(
    protector: ImageProtector, *, is_async: bool
) -> None:
    held = Model(seen=[], judge=Judge(model="m", sent=[]))

    class Judging(AgentMiddleware[Any, Any, Any]):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            held.invoke(request.messages)
            question = decisions.Choice(instructions="Which?", criteria={"a": None})
            held.judge.invoke({"state": {"messages": request.messages}, "questions": {"q": question}})
            return handler(request)

        async def awrap_model_call(self, request: Any, handler: Any) -> Any:
            self.wrap_model_call(request, lambda each: each)
            return await handler(request)

    agent = create_agent(Echo(seen=[]), middleware=[VisualPrivacyMiddleware(protector), Judging()])
    await _run(agent, _state(), is_async=is_async)
    assert held.seen
    assert held.judge.sent
    assert_no_leak(PICTURE, held.seen, held.judge.sent)


@pytest.mark.slow(seconds=0.27)
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("hook", ["before_agent", "before_model", "after_model", "after_agent"])
async def test_a_picture_that_a_hook_puts_into_the_state_is_cleaned_and_protected(
    hook: str, protector: ImageProtector, *, is_async: bool
) -> None:
    def add(self: Any, state: Any, runtime: Any) -> Any:
        return {"messages": [OTHER], "shots": [PICTURE]}

    async def aadd(self: Any, state: Any, runtime: Any) -> Any:
        return add(self, state, runtime)

    adding = type("Adding", (AgentMiddleware,), {hook: add, f"a{hook}": aadd})()
    model, watching = Calling(seen=[]), Watching()
    # Later hooks run in the opposite order: what stands further out sees what was added.
    inner = [adding, watching] if hook.startswith("after") else [watching, adding]
    agent = create_agent(
        model,
        [look],
        middleware=[VisualPrivacyMiddleware(protector), *inner],
        state_schema=State,
        checkpointer=InMemorySaver(),
    )
    config: Any = {"configurable": {"thread_id": "1"}}
    result = await _run(agent, _state(), config, is_async=is_async)
    result = await _run(agent, _state(), config, is_async=is_async)
    assert_no_leak(PICTURE, model.seen, result, agent.get_state(config).values)
    assert_no_leak(PICTURE, watching.calls)


@tool("camera")
def look(place: str) -> str:
    """Look."""
    return "Nothing there."


class Watching(AgentMiddleware[Any, Any, Any]):
    """Sees what a model of its own would get."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []

    def before_agent(self, state: Any, runtime: Any) -> None:
        self.calls.append(dict(state))

    def before_model(self, state: Any, runtime: Any) -> None:
        self.calls.append(dict(state))

    def after_model(self, state: Any, runtime: Any) -> None:
        self.calls.append(dict(state))

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        self.calls.append(request.messages)
        return handler(request)

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        self.calls.append(request.messages)
        return await handler(request)

    def wrap_tool_call(self, request: Any, handler: Any) -> Any:
        self.calls.append(request.state)
        return handler(request)

    async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
        self.calls.append(request.state)
        return await handler(request)


class Calling(Echo):
    """Calls a tool once."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(**kwargs)

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
        result = super()._generate(messages, stop, run_manager, **kwargs)
        if not isinstance(messages[-1], ToolMessage):
            call = {"name": "camera", "args": {"place": "hall"}, "id": "1"}
            result.generations[0].message = AIMessage("", tool_calls=[call])
        return result


@pytest.mark.slow(seconds=0.1)
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("way", ["override", "attribute"])
async def test_a_tool_that_an_inner_middleware_brings_is_protected(
    way: str, protector: ImageProtector, *, is_async: bool
) -> None:
    @tool
    def camera(place: str) -> bytes:
        """Take a picture."""
        return PICTURE

    def brought(request: Any) -> Any:
        if way == "override":
            return request.override(tool=camera)
        with pytest.warns(DeprecationWarning, match="'tool'"):
            request.tool = camera
        return request

    class Bringing(AgentMiddleware[Any, Any, Any]):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            return handler(request.override(tools=[camera]))

        async def awrap_model_call(self, request: Any, handler: Any) -> Any:
            return await handler(request.override(tools=[camera]))

        def wrap_tool_call(self, request: Any, handler: Any) -> Any:
            return handler(brought(request))

        async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
            return await handler(brought(request))

    handler, model = Everything(), Calling(seen=[])
    agent = create_agent(model, middleware=[VisualPrivacyMiddleware(protector), Bringing()])
    result = await _run(agent, {"messages": ["Look."]}, {"callbacks": [handler]}, is_async=is_async)
    assert "/9j/" in str(result["messages"][-2].content)
    assert_no_leak(PICTURE, handler.events, model.seen, result)


# Traces and copies.


class Tracer(BaseTracer):
    """Keeps the runs."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[Any] = []

    def _persist_run(self, run: Any) -> None:
        pass

    def _on_run_create(self, run: Any) -> None:
        self.runs.append((run.name, copy.deepcopy(run.inputs)))


def test_its_own_spans_record_no_input(protector: ImageProtector) -> None:
    tracer = Tracer()
    agent = create_agent(Echo(seen=[]), middleware=[VisualPrivacyMiddleware(protector)])
    agent.invoke(_state(), {"callbacks": [tracer]})
    own = [(name, inputs) for name, inputs in tracer.runs if name.startswith("VisualPrivacyMiddleware")]
    assert {name for name, _ in own} >= {"VisualPrivacyMiddleware.before_agent"}
    assert all(not inputs for _, inputs in own)
    # The agent's own run has the input, as documented.
    assert_no_leak(PICTURE, [inputs for name, inputs in tracer.runs if name != "LangGraph"])


def test_inside_a_protected_agent_nothing_is_recorded(protector: ImageProtector) -> None:
    tracer, handler = Tracer(), Everything()
    agent = protect(create_agent(Echo(seen=[]), middleware=[VisualPrivacyMiddleware(protector)]), protector)
    result = agent.invoke(_state(), {"callbacks": [tracer, handler]})
    assert_no_leak(PICTURE, result, tracer.runs, handler.events)


def test_a_copy_of_the_middleware_protects(protector: ImageProtector) -> None:
    ours = VisualPrivacyMiddleware(protector)
    for made in (copy.copy(ours), copy.deepcopy({"middleware": [ours]})["middleware"][0]):
        model = Echo(seen=[])
        result = create_agent(model, middleware=[made]).invoke(_state())
        assert model.seen
        assert_no_leak(PICTURE, result, model.seen)
    with pytest.raises(TypeError, match="protector can't be pickled"):
        pickle.dumps(ours)
