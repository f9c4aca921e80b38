"""Decision models: pictures are protected wherever the state or a question may hold them."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_core.stores import InMemoryByteStore

from langchain_vpp import ImageProtector, ProtectionError, protect
from langchain_vpp.engines import Pixelate
from langchain_vpp.testing import assert_no_leak
from tests.callbacks import Everything
from tests.unit.langchain_vpp.runnables.models import BLOCK, ENCODED, MESSAGE, PICTURE

decisions = pytest.importorskip("langchain_core.decisions")

URL = f"data:image/png;base64,{ENCODED}"
OPENAI_BLOCK = {"type": "image_url", "image_url": {"url": URL}}
CONVERSATION = [
    MESSAGE,
    AIMessage("", tool_calls=[{"name": "t", "args": {}, "id": "1"}]),
    ToolMessage([OPENAI_BLOCK], tool_call_id="1"),
]


class Judge(decisions.BaseDecisionModel):
    """Keeps what it would send."""

    sent: list[Any] = []  # noqa: RUF012

    @property
    def _provider(self) -> str:
        return "test"

    def _classify(self, state: Any, questions: Any) -> Any:
        self.sent.append((state, {name: question.model_dump() for name, question in questions.items()}))
        return decisions.ClassifierResponse(model="m", answers={"q": {"type": "noul", "noul": 0.5}})


def _request(state: Any, **question: Any) -> dict[str, Any]:
    return {
        "state": state,
        "questions": {"q": decisions.Noul(**{"instructions": "Is it a cat?", **question})},
    }


@pytest.fixture
def protector() -> ImageProtector:
    return ImageProtector(Pixelate(), level=0.7, store=InMemoryByteStore(), on_upstream_trace="raise")


REQUESTS = [
    _request(MESSAGE),
    _request(CONVERSATION),
    _request({"messages": CONVERSATION, "tool_call": {"name": "t", "args": {"n": 1}}}),
    _request(BLOCK),
    _request([BLOCK, "and text"]),
    _request({"deep": [{"er": BLOCK}]}),
    _request({"shot": URL, "thumbnail": ENCODED}),
    _request([OPENAI_BLOCK]),
    _request("text", instructions=[{"like": BLOCK}]),
    _request("text", criteria=decisions.NoulCriteria(true={"like": BLOCK})),
]


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("is_async", [False, True])
async def test_every_shape_of_state_is_protected(
    protector: ImageProtector, request_: Any, *, is_async: bool
) -> None:
    handler = Everything()
    judge = Judge(model="m", sent=[])
    protected = protect(judge, protector)
    config: Any = {"callbacks": [handler]}
    if is_async:
        await protected.ainvoke(request_, config)
        await protected.with_config(tags=["t"]).ainvoke(request_, config)
    else:
        protected.invoke(request_, config)
        protected.with_config(tags=["t"]).invoke(request_, config)
    assert len(judge.sent) == 2
    assert "/9j/" in str(judge.sent), "no protected picture came through"
    assert_no_leak(PICTURE, judge.sent, handler.events)


def test_a_handle_is_resolved(protector: ImageProtector) -> None:
    judge = Judge(model="m", sent=[])
    protect(judge, protector).invoke(_request({"shot": protector.seal(PICTURE)}))
    ((state, _),) = judge.sent
    assert (state["shot"]["type"], state["shot"]["mime_type"]) == ("image", "image/jpeg")
    assert_no_leak(PICTURE, judge.sent)


@pytest.mark.parametrize(
    "state",
    [
        {"type": "image", "url": "https://example.com/a.png"},
        {"deep": [{"type": "image", "file_id": "file-1"}]},
        {**BLOCK, "url": "https://example.com/a.png"},
        f"See {URL}.",
        {"log": json.dumps({"shot": ENCODED})},
    ],
)
def test_what_cannot_be_protected_is_refused_with_the_way_out(protector: ImageProtector, state: Any) -> None:
    judge = Judge(model="m", sent=[])
    with pytest.raises(
        ProtectionError, match=r"decision model.*content block|send its bytes|several payloads"
    ):
        protect(judge, protector).invoke(_request(state))
    assert not judge.sent


def test_a_state_without_pictures_passes_as_it_is(protector: ImageProtector) -> None:
    judge = Judge(model="m", sent=[])
    state = {
        "upload": {"type": "file", "name": "a.txt"},
        "rows": [1, 2.5, None],
        "url": "https://example.com",
    }
    protect(judge, protector).invoke(_request(state))
    assert judge.sent[0][0] == state


def test_a_chain_that_begins_with_a_decision_model(protector: ImageProtector) -> None:
    judge = Judge(model="m", sent=[])
    chain = protect(judge | RunnableLambda(lambda response: response.nouls["q"].noul), protector)
    assert chain.batch([_request(BLOCK), _request(MESSAGE)]) == [0.5, 0.5]
    assert_no_leak(PICTURE, judge.sent)


MAKERS: dict[str, Any] = {
    "whole": RunnableLambda(lambda _: _request(BLOCK)),
    "parts": RunnableParallel(
        state=lambda _: {"shot": BLOCK}, questions=lambda _: _request("text")["questions"]
    ),
}


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("made", MAKERS)
async def test_a_decision_model_inside_of_a_chain_is_protected(
    made: str, protector: ImageProtector, *, is_async: bool
) -> None:
    judge, handler = Judge(model="m", sent=[]), Everything()
    chain = protect(MAKERS[made] | judge, protector)
    config: Any = {"callbacks": [handler]}
    answer = await chain.ainvoke("go", config) if is_async else chain.invoke("go", config)
    assert answer.nouls["q"].noul == 0.5
    assert "/9j/" in str(judge.sent)
    assert_no_leak(PICTURE, judge.sent, handler.events)


def test_a_decision_model_that_nobody_finds_is_refused_an_original(protector: ImageProtector) -> None:
    class Holder:
        judge = Judge(model="m", sent=[])

        def ask(self, _: Any) -> Any:
            return self.judge.invoke(_request(BLOCK))

    holder = Holder()
    with pytest.raises(ProtectionError):
        protect(RunnableLambda(holder.ask) | RunnableLambda(str), protector).invoke("go")
    assert not holder.judge.sent


@pytest.mark.parametrize(
    "state", [MESSAGE, CONVERSATION, [HumanMessage([OPENAI_BLOCK])], {"messages": CONVERSATION}]
)
def test_openai_gets_protected_pictures(protector: ImageProtector, state: Any) -> None:
    openai = pytest.importorskip("langchain_openai.decisions")
    sent: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.read())
        return httpx.Response(
            200, json={"model": "m", "answers": [{"type": "predicate", "name": "q", "probability": 0.5}]}
        )

    model = openai.OpenAIDecisions(
        model="m", api_key="k", http_client=httpx.Client(transport=httpx.MockTransport(answer))
    )
    question = openai.Predicate(instructions="Is it a cat?")
    response = protect(model, protector).invoke({"input": state, "questions": {"q": question}})
    assert response.predicates["q"].probability == 0.5
    assert b"data:image/jpeg;base64," in sent[0]
    assert_no_leak(PICTURE, sent)
