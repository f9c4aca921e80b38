"""The sandbox server as its own process, over real HTTP, mostly through the real OpenAI client."""

from __future__ import annotations

import base64
import io
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import numpy as np
import pytest
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI

from langchain_vpp.errors import OracleError
from trainer.sandbox.drawing.scenes import PRIVATE_ATTRIBUTES, PRIVATE_QUESTIONS, TASKS, draw_scene
from trainer.sandbox.process import SandboxServer

CANARY = "canary-5b1f"


def scene(seed: int) -> tuple[bytes, dict[str, str]]:
    image, labels = draw_scene(np.random.default_rng((77, seed)))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue(), labels


def message(data: bytes, question: str) -> HumanMessage:
    block = {"type": "image", "base64": base64.b64encode(data).decode(), "mime_type": "image/jpeg"}
    return HumanMessage([{"type": "text", "text": question}, block])


def image_part(data: bytes) -> dict:
    return {
        "type": "image_url",
        "image_url": {"url": "data:image/jpeg;base64," + base64.b64encode(data).decode()},
    }


def body(*parts: dict, **fields) -> dict:
    return {"model": "sandbox", "messages": [{"role": "user", "content": list(parts)}]} | fields


def text_part(text: str) -> dict:
    return {"type": "text", "text": text}


def post(server: SandboxServer, **request) -> httpx.Response:
    return httpx.post(f"{server.base_url}/chat/completions", trust_env=False, timeout=20, **request)


@pytest.fixture(scope="module")
def server():
    with SandboxServer() as running:
        yield running


@pytest.fixture(scope="module")
def model(server):
    return ChatOpenAI(base_url=server.base_url, api_key="sandbox", model="sandbox", max_retries=0)


def test_task_and_private_questions_are_answered_right(model):
    questions = PRIVATE_QUESTIONS | {name: task.text for name, task in TASKS.items()}
    cases = [(data, labels, name) for data, labels in map(scene, range(8)) for name in questions]
    replies = model.batch([[message(data, questions[name])] for data, _, name in cases])
    right = [reply.content == labels[name] for reply, (_, labels, name) in zip(replies, cases, strict=True)]
    assert np.mean(right) > 0.95


async def test_async_calls_get_the_same_answer(model):
    request = [message(scene(1)[0], TASKS["sign_shape"].text)]
    assert (await model.ainvoke(request)).content == model.invoke(request).content


def test_streaming_gives_the_same_answer_and_usage(model):
    request = [message(scene(1)[0], TASKS["sign_digit"].text)]
    whole = model.invoke(request)
    chunks = list(model.stream(request, stream_usage=True))
    total = sum(chunks[1:], chunks[0])
    assert len(chunks) > 1
    assert total.content == whole.content
    assert total.usage_metadata["total_tokens"] == whole.usage_metadata["total_tokens"] > 85
    assert total.response_metadata["finish_reason"] == "stop"


def test_streamed_usage_comes_only_when_asked_for(server):
    request = body(text_part("How many balloons?"), image_part(scene(1)[0]), stream=True)
    plain = post(server, json=request).text
    assert plain.endswith("data: [DONE]\n\n")
    assert "usage" not in plain
    assert "usage" in post(server, json=request | {"stream_options": {"include_usage": True}}).text


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs_hold_the_distribution_over_all_choices(model, stream):
    bound = model.bind(logprobs=True, top_logprobs=20)
    request = [message(scene(2)[0], PRIVATE_QUESTIONS["shirt_number"])]
    reply = (
        sum(list(bound.stream(request))[1:], next(bound.stream(request))) if stream else bound.invoke(request)
    )
    (token,) = reply.response_metadata["logprobs"]["content"]
    tops = token["top_logprobs"]
    assert token["token"] == reply.content == tops[0]["token"]
    assert {top["token"] for top in tops} == set(PRIVATE_ATTRIBUTES["shirt_number"])
    assert [top["logprob"] for top in tops] == sorted((top["logprob"] for top in tops), reverse=True)
    assert sum(math.exp(top["logprob"]) for top in tops) == pytest.approx(1, abs=1e-4)


def test_top_logprobs_are_as_many_as_asked_for_and_absent_by_default(server):
    request = body(text_part(TASKS["count"].text), image_part(scene(2)[0]))
    assert post(server, json=request).json()["choices"][0]["logprobs"] is None
    choice = post(server, json=request | {"logprobs": True, "top_logprobs": 2}).json()["choices"][0]
    assert len(choice["logprobs"]["content"][0]["top_logprobs"]) == 2


def test_n_gives_n_generations(server):
    several = ChatOpenAI(base_url=server.base_url, api_key="sandbox", model="sandbox", n=3)
    result = several.generate([[message(scene(3)[0], TASKS["pose"].text)]])
    assert len(result.generations[0]) == 3


def test_the_last_image_and_the_last_user_text_count(server):
    (first, first_labels), (last, last_labels) = scene(4), scene(5)
    assert first_labels["sign_digit"] != last_labels["sign_digit"]
    both = body(image_part(first), image_part(last), text_part("Which digit is on the sign?"))
    assert post(server, json=both).json()["choices"][0]["message"]["content"] == last_labels["sign_digit"]
    plain = {"role": "user", "content": "And which shape is the sign?"}
    then = body(text_part("Which digit is on the sign?"), image_part(last))
    then["messages"].append(plain)
    assert post(server, json=then).json()["choices"][0]["message"]["content"] == last_labels["sign_shape"]


def test_a_question_about_something_else_gets_no_guess(model):
    assert model.invoke([message(scene(1)[0], "Who painted it?")]).content == "I don't know."


def test_stop_max_tokens_and_unknown_options_are_tolerated(server):
    request = body(text_part(TASKS["count"].text), image_part(scene(2)[0]))
    options = {
        "stop": ["\n"],
        "max_tokens": 5,
        "temperature": 0,
        "seed": 1,
        "response_format": {"type": "text"},
    }
    assert post(server, json=request | options).status_code == 200


def test_models_and_health(server):
    listed = httpx.get(f"{server.base_url}/models", trust_env=False).json()
    assert [entry["id"] for entry in listed["data"]][:2] == ["sandbox", "sandbox-b"]
    assert httpx.get(server.base_url.removesuffix("/v1") + "/health", trust_env=False).status_code == 200


ASK = text_part("What colour is the sign?")
BAD_REQUESTS = {
    "no JSON": (400, {"content": b"{" + CANARY.encode()}),
    "JSON of another kind": (400, {"json": [CANARY]}),
    "no messages": (400, {"json": body() | {"messages": []}}),
    "message without role": (400, {"json": {"model": "sandbox", "messages": [{CANARY: CANARY}]}}),
    "wrong type": (400, {"json": body(ASK, n=CANARY)}),
    "unknown model": (404, {"json": body(ASK, model=CANARY)}),
    "no image": (400, {"json": body(text_part(CANARY))}),
    "remote image": (
        400,
        {"json": body(ASK, {"type": "image_url", "image_url": {"url": f"https://example.org/{CANARY}.png"}})},
    ),
    "no base64": (
        400,
        {"json": body(ASK, {"type": "image_url", "image_url": {"url": f"data:image/png,{CANARY}"}})},
    ),
    "bad base64": (
        400,
        {"json": body(ASK, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{CANARY}"}})},
    ),
    "no picture": (400, {"json": body(ASK, image_part(CANARY.encode()))}),
    "truncated picture": (400, {"json": body(ASK, image_part(scene(0)[0][:600]))}),
    "too large": (413, {"content": b" " * (33 * 2**20)}),
}


@pytest.mark.parametrize(("status", "request_"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_bad_requests_get_an_openai_error_without_their_content(server, status, request_):
    before = server.stats()
    response = post(server, **request_)
    assert response.status_code == status
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert CANARY not in response.text
    assert server.stats() == before


def test_unknown_paths_and_methods_get_an_openai_error(server):
    assert (
        httpx.get(f"{server.base_url}/nothing", trust_env=False).json()["error"]["code"] == "unknown_endpoint"
    )
    response = httpx.get(f"{server.base_url}/chat/completions", trust_env=False)
    assert response.status_code == 405
    assert "error" in response.json()


def test_the_count_tells_repeated_pairs_from_new_ones(server):
    before = server.stats()
    first, second = scene(100)[0], scene(101)[0]
    for data, question in [(first, "sign shape?"), (first, "sign colour?"), (second, "sign shape?")]:
        post(server, json=body(image_part(data), text_part(question))).raise_for_status()
    post(server, json=body(text_part("sign shape?"), image_part(first), n=2)).raise_for_status()
    after = server.stats()
    assert {name: after[name] - before[name] for name in after} == {
        "completions": 4,
        "distinct": 3,
        "repeated": 1,
    }


def test_every_request_body_is_on_record_also_the_refused_ones(tmp_path):
    record = tmp_path / "record.jsonl"
    bodies = [body(ASK, image_part(scene(0)[0])), body(ASK), [1, 2]]
    with SandboxServer(record=record) as server:
        for sent in bodies:
            post(server, content=json.dumps(sent, indent=1))
        post(server, content=b"not\njson")
        os.kill(server.pid, signal.SIGKILL)  # what was answered is in the file all the same
    assert [json.loads(line) for line in record.read_text().splitlines()] == [*bodies, "not\njson"]


def test_the_process_is_gone_after_the_block():
    with SandboxServer() as server:
        base_url = server.base_url
        assert httpx.get(f"{base_url}/models", trust_env=False).is_success
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{base_url}/models", trust_env=False)
    with pytest.raises(OracleError, match="does not answer"):
        server.stats()


def test_a_server_that_cannot_start_is_reported():
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(OracleError, match="ended with exit code 1"),
        SandboxServer(port=taken.getsockname()[1]),
    ):
        pass


def test_the_server_does_not_outlive_the_process_that_started_it():
    starter = (
        "import time\nfrom trainer.sandbox.process import SandboxServer\n"
        "with SandboxServer() as server:\n    print(server.base_url, flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True) as process:
        base_url = process.stdout.readline().strip()
        assert httpx.get(f"{base_url}/models", trust_env=False).is_success
        process.kill()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            httpx.get(f"{base_url}/models", trust_env=False)
        except httpx.TransportError:
            return
        time.sleep(0.1)
    pytest.fail("the server still answers")
