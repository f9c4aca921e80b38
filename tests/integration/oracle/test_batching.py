"""Several questions in one request, through the real OpenAI client."""

from __future__ import annotations

import base64
import json

import pytest
from langchain_core.messages import AIMessage

from langchain_vpp.errors import OracleError, TrainingError
from tests.integration.oracle.scripted_provider import PLENTY, Provider, chat, completion
from trainer.oracle.batching import _parts
from trainer.oracle.ledger import Budget
from trainer.oracle.oracle import Oracle
from trainer.oracle.query import Query


def about(picture, *questions):
    return [Query(f"picture {picture}".encode(), question, ("red", "blue")) for question in questions]


NAMES = ("First?", "Second?", "Third?")


def ask_together(ledger, reply, *, structured=False, asked=None):
    """Ask three questions about a picture in one call; what was sent and what came of it."""
    before, reported = ledger.spent()[0], []
    with Provider(lambda *_: (200, completion(reply))) as provider:
        model = chat(provider.base_url, profile={"structured_output": structured})
        oracle = Oracle(model, ledger, Budget(500), questions_per_call=3)
        answers = oracle.ask(
            asked or about(1, *NAMES), purpose="train", on_answer=lambda: reported.append(ledger.spent()[0])
        )
    assert len(reported) == ledger.spent()[0] - before
    return provider.bodies, [answer.text for answer in answers], oracle.counts, answers


def test_questions_about_a_picture_share_a_request_and_its_tokens_and_have_rows_of_their_own(ledger):
    bodies, texts, counts, answers = ask_together(ledger, "1. red\n2. blue\n3. red")
    assert texts == ["red", "blue", "red"]
    assert len(bodies) == 1
    text, image = bodies[0]["messages"][0]["content"]
    assert [line for line in text["text"].splitlines() if line[0].isdigit()] == [
        f"{number}. {name} Answer with exactly one of: red, blue."
        for number, name in enumerate(NAMES, start=1)
    ]
    assert base64.b64decode(image["image_url"]["url"].partition(",")[2]) == b"picture 1"
    assert [answer.input_tokens for answer in answers] == [30, 30, 30]
    assert [answer.output_tokens for answer in answers] == [1, 1, 0]  # 2 in all
    assert ledger.spent()[0] == counts.answered == 3
    assert ask_together(ledger, "never sent")[0] == []


def test_each_request_holds_one_picture_and_no_more_questions_than_allowed(ledger):
    asked = [*about(1, *NAMES), *about(2, "Alone?"), *about(1, "Fourth?", "Fifth?")]
    bodies, texts, *_ = ask_together(ledger, "1. red\n2. blue\n3. red", asked=asked)
    sizes = sorted(
        sum(line[0].isdigit() for line in body["messages"][0]["content"][0]["text"].splitlines())
        for body in bodies
    )
    assert sizes == [0, 2, 3]  # the one alone is asked as ever
    assert len(texts) == 6
    assert texts[:3] == ["red", "blue", "red"]


def test_models_that_are_known_to_support_it_are_asked_for_structured_output(ledger):
    reply = json.dumps({"answer_2": "blue", "answer_1": "red", "answer_3": "red"})
    bodies, texts, counts, answers = ask_together(ledger, reply, structured=True)
    assert texts == ["red", "blue", "red"]
    assert bodies[0]["response_format"]["type"] == "json_schema"
    assert sum(answer.input_tokens for answer in answers) == 90
    assert counts.answered == 3


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("1. red\n3. blue", ["red", "", "blue"]),
        ("Here you are:\n 2) blue\n\n1: red", ["red", "blue", ""]),
        ("1. red\n1. blue\n2. red\n3. red", ["", "", ""]),
        ("0. red\n1. blue\n2. red", ["", "", ""]),
        ("1. red\n2. blue\n3. red\n4. blue", ["", "", ""]),
        ("red\nblue\nred", ["", "", ""]),
        ("1. red, 2. blue, 3. red", ["red", "blue", "red"]),
        ("1. red 2. blue", ["red", "blue", ""]),
        ("1. red, 2. blue\n2. red\n3. red", ["", "", ""]),
        ("1. red, 3. blue", ["red, 3. blue", "", ""]),
        ("1.\n2. blue\n3.", ["", "blue", ""]),
        ("", ["", "", ""]),
        ("I can't help with people.", ["I can't help with people."] * 3),
    ],
)
def test_a_missing_or_garbled_line_is_never_the_answer_to_another_question(ledger, reply, expected):
    _, texts, counts, _ = ask_together(ledger, reply)
    assert texts == expected
    assert counts.empty == expected.count("")
    assert ledger.spent()[0] == 3  # paid all the same, and not asked again
    assert ask_together(ledger, "1. red\n2. red\n3. red")[1] == expected


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ('{"answer_1": "red", "answer_3": "blue"}', ["red", "", "blue"]),
        ('{"answer_1": "red", "answer_2": null, "answer_3": 3}', ["red", "", "3"]),
        ('{"answer_1": "red", "answer_2": "bl', ["", "", ""]),
        ('["red", "blue", "red"]', ["", "", ""]),
        ("red", ["", "", ""]),
        ("I can't help with people.", ["I can't help with people."] * 3),
    ],
)
def test_a_structure_with_holes_gives_unusable_answers_and_loses_none(ledger, reply, expected):
    _, texts, _, answers = ask_together(ledger, reply, structured=True)
    assert texts == expected
    assert sum(answer.input_tokens for answer in answers) == 90


def test_a_request_for_several_that_fails_leaves_none_of_them_paid(ledger):
    with Provider(lambda *_: (400, {})) as provider, pytest.raises(OracleError, match="3 of 3"):
        Oracle(chat(provider.base_url), ledger, PLENTY, questions_per_call=3).ask(
            about(1, *NAMES), purpose="train"
        )
    assert ledger.spent()[0] == 0


def test_log_probabilities_of_several_questions_at_once_are_refused(ledger):
    with pytest.raises(TrainingError, match="no log-probabilities of their own; nothing was sent"):
        Oracle(chat("http://127.0.0.1:9/v1"), ledger, PLENTY, access="logprobs", questions_per_call=2)


ANSWERS = ["red", "blue", "red"]
FENCED = "```json\n" + json.dumps({"answer_1": "red", "answer_2": "blue", "answer_3": "red"}) + "\n```"
RECORDS = [{"question": number, "answer": answer} for number, answer in enumerate(ANSWERS, start=1)]
READABLE = (
    FENCED,
    f"Here you are:\n{FENCED}\nI hope this helps.",
    f"<think>1. blue 2. red\n1. blue</think>\n{FENCED}",
    '{"answer_1": "red"} no, better: {"answer_1": "red", "answer_2": "blue", "answer_3": "red"}',
    '{"1": "red", "2": "blue", "3": "red"}',
    "<think>1. blue\n2. blue\n3. blue</think>\n\n1. red\n2. blue\n3. red",
    "1. red\n2. blue\n3. red<|im_end|>",
    "**1.** red\n**2.** blue\n**3.** red",
    "**1. red**\n**2. blue**\n**3. red**",
    "1. **red**\n2. **blue**\n3. **red**",
    "1.red\n2.blue\n3.red",
    "1 - red\n2 - blue\n3 - red",
    "1 \u2013 red\n2 \u2013 blue\n3 \u2013 red",
    "(1) red\n(2) blue\n(3) red",
    "[1] red\n[2] blue\n[3] red",
    "1) red\n2) blue\n3) red",
    "- 1. red\n- 2. blue\n- 3. red",
    "### 1. red\n### 2. blue\n### 3. red",
    "| 1 | red |\n| 2 | blue |\n| 3 | red |",
    "Answer 1: red\nAnswer 2: blue\nAnswer 3: red",
    "answer_1: red\nanswer_2: blue\nanswer_3: red",
    "Q1: red\nQ2: blue\nQ3: red",
    "1\ufe0f\u20e3 red\n2\ufe0f\u20e3 blue\n3\ufe0f\u20e3 red",
    "1\uff1ared\n2\uff1ablue\n3\uff1ared",
    "1\u3001red\n2\u3001blue\n3\u3001red",
    "1\\. red\n2\\. blue\n3\\. red",
    "```\n1. red\n2. blue\n3. red\n```",
    "<answer>1. red\n2. blue\n3. red</answer>",
    '{"answers": {"answer_1": "red", "answer_2": "blue", "answer_3": "red"}}',
    'Here: {"result": {"picture": "p", "answers": {"1": "red", "2": "blue", "3": "red"}}} as asked.',
    f'```json\n{{"answers": {json.dumps(RECORDS)}}}\n```',
    '[{"id": "3", "value": "red"}, {"id": "1", "value": "red"}, {"id": "2", "value": "blue"}]',
    '```\n[\n {"q": "Q1", "response": ["red"]},\n{"q": "Q2", "response": "blue"}, {"q": "Q3", "value": "red"}]\n```',
    '{"1": {"answer": "red", "reason": "it is not blue"}, "2": {"answer": "blue"}, "3": {"answer": "red"}}',
    '{"a": {"1": "red", "2": "blue", "3": "red"}, "again": {"1": "red", "2": "blue", "3": "red"}}',
    '~~~json\n{"1": "red", "2": "blue", "3": "red"}\n~~~',
    "1. First? red\n2. **Second?** blue\n3. third: red",
    "1. First? Answer with exactly one of: red, blue. red\n2. Second? - blue\n3. Third? \u2192 red",
)


@pytest.mark.parametrize("structured", [False, True])
def test_answers_are_read_in_the_dialects_of_models(ledger, structured):
    for number, reply in enumerate(READABLE):
        asked = about(number, *NAMES)
        _, texts, counts, _ = ask_together(ledger, reply, structured=structured, asked=asked)
        assert (reply, texts, counts.answered) == (reply, ANSWERS, 3)


@pytest.mark.parametrize(
    "reply",
    [
        "1.5\n2.5\n3.5",  # three numbers, not three numbered lines
        '{"answer_1": "red", "answer_1": "blue", "answer_2": "red"}',
        '{"answer_1": "red", "answer_4": "blue"}',
        '```json\n{"answer_1": "red", "answer_2": "bl\n```',
        "<think>1. red\n2. blue\n3. red",
        "{" * 3000,
        '{"a":' * 3000,
        "[" * 3000,
        '{"draft": {"1": "blue", "2": "blue", "3": "red"}, "final": {"1": "red", "2": "blue", "3": "red"}}',
        '[{"question": 1, "answer": "red"}, {"question": 1, "answer": "blue"}, {"question": 2, "answer": "red"}]',
        '[{"question": 0, "answer": "red"}, {"question": 1, "answer": "blue"}, {"question": 2, "answer": "red"}]',
        '[{"question": 1, "answer": "red"}, {"question": 2, "answer": "bl',
        '{"answers": ["red", "blue", "red"]}',  # nobody says in which order
        '{"1": {"first": "red", "then": "blue"}, "2": ["red", "blue"], "3": {"answer": {"a": 1}}}',
        "1. First?\n   red\n2. Second?\n   blue\n3. Third?\n   red",
        '{"confidence": {"1": 0.9, "2": 0.8, "3": 0.7}, "answers": {"1": "red", "2": "blue", "3": "red"}}',
    ],
)
def test_what_is_not_safe_to_read_gives_no_answer(ledger, reply):
    assert ask_together(ledger, reply)[1] == ["", "", ""]


def test_a_question_that_is_repeated_is_not_its_answer(ledger):
    asked = [
        Query(b"picture 1", question, ("red", "blue")) for question in ("Is it red?", "Is it blue?", "Which?")
    ]
    _, texts, *_ = ask_together(ledger, "1. Is it red?\n- blue\n2. is it  blue\n3. blue", asked=asked)
    assert texts == ["", "", "blue"]
    asked = [query._replace(image=b"picture 2") for query in asked]
    _, texts, *_ = ask_together(
        ledger, "1. Is it red? blue\n2. **Is it blue?** red\n3. red it is", asked=asked
    )
    assert texts == ["blue", "red", "red it is"]


def test_calls_of_tools_are_read_as_structures_are():
    def read(*arguments):
        calls = [{"name": "answers", "args": each, "id": str(n)} for n, each in enumerate(arguments)]
        return _parts(AIMessage("", tool_calls=calls), about(1, *NAMES))

    whole = {"answer_1": "red", "answer_2": "blue", "answer_3": "red"}
    assert read(whole) == read({"answers": whole}) == read(whole, whole) == ANSWERS
    assert read(whole, {**whole, "answer_1": "blue"}) == ["", "", ""]
    assert read({"answers": [{"question": 2, "answer": "blue"}]}) == ["", "blue", ""]


def test_after_two_replies_that_nobody_can_read_questions_are_asked_one_by_one(ledger, caplog):
    asked = [query for picture in range(6) for query in about(picture, *NAMES)]

    def answer(_, body):
        together = "First?" in str(body) and "Second?" in str(body)
        return 200, completion("red blue red" if together else "red")

    with Provider(answer) as provider:
        oracle = Oracle(chat(provider.base_url), ledger, PLENTY, questions_per_call=3, max_concurrency=1)
        texts = [each.text for each in oracle.ask(asked, purpose="train")]
        assert len(provider.bodies) == 2 + 4 * 3
        oracle.ask(about(9, *NAMES), purpose="train")
        assert len(provider.bodies) == 2 + 4 * 3 + 3
    assert texts == [""] * 6 + ["red"] * 12
    assert (oracle.counts.empty, oracle.counts.answered, oracle.counts.failed) == (6, 15, 0)
    assert ledger.spent()[0] == 18 + 3  # the two that could not be read are paid
    assert "asked one by one" in caplog.text


def test_after_two_replies_with_holes_questions_are_asked_one_by_one(ledger):
    with Provider(lambda *_: (200, completion("1. red\n2. blue"))) as provider:
        oracle = Oracle(chat(provider.base_url), ledger, PLENTY, questions_per_call=3, max_concurrency=1)
        for picture in range(4):
            oracle.ask(about(picture, *NAMES), purpose="train")
    assert len(provider.bodies) == 2 + 2 * 3


def test_one_reply_that_nobody_can_read_changes_nothing(ledger):
    replies = iter(("red blue red", "1. red\n2. blue\n3. red", "red", "1. red\n2. blue\n3. red"))
    with Provider(lambda *_: (200, completion(next(replies)))) as provider:
        oracle = Oracle(chat(provider.base_url), ledger, PLENTY, questions_per_call=3, max_concurrency=1)
        for picture in range(4):
            oracle.ask(about(picture, *NAMES), purpose="train")
    assert len(provider.bodies) == 4
    assert (oracle.counts.empty, oracle.counts.answered) == (6, 6)
