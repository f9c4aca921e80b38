"""The screen model behind the server: text, streams, tool calls and structured output."""

from __future__ import annotations

import base64
import json

import pytest
from starlette.testclient import TestClient

from langchain_vpp.images.codec import encode_image
from tests.unit.langchain_vpp.engines.words.made import words_of
from tests.unit.trainer.sandbox.screens.made import COVERED, INVOICE, SIZE, model, picture
from trainer.sandbox.screens.model import ScreenModel
from trainer.sandbox.server import create_app

PAY = {
    "type": "function",
    "function": {
        "name": "pay_invoice",
        "description": "Pay an invoice.",
        "parameters": {
            "type": "object",
            "properties": {
                "iban": {"type": "string"},
                "to": {"type": "string", "description": "Whom is it from?"},
                "amount": {"type": "number", "description": "What is the total?"},
                "note": {"type": "string"},
            },
            "required": ["iban", "amount"],
        },
    },
}
REMIND = {"type": "function", "function": {"name": "remind", "description": "Set a reminder."}}


def ask(made, text, *, messages=(), **fields):
    url = "data:image/jpeg;base64," + base64.b64encode(encode_image(picture())).decode()
    parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
    asked = [{"role": "user", "content": parts}, *messages]
    with TestClient(create_app(made)) as client:
        return client.post("/v1/chat/completions", json={"model": made.name, "messages": asked, **fields})


def test_an_answer_is_text_in_one_piece_or_in_many():
    made = model(*INVOICE)
    whole = ask(made, "Whom is it from?").json()["choices"][0]
    assert (whole["message"]["content"], whole["finish_reason"]) == ("Copper Kettle Labs", "stop")
    lines = ask(made, "Whom is it from?", stream=True).text.splitlines()
    chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    pieces = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks]
    assert "".join(pieces) == "Copper Kettle Labs"
    assert max(map(len, pieces)) == 4


def test_tokens_come_in_pieces_too():
    lines = ask(model(*COVERED), "Whom is it from?", stream=True).text
    assert '"content": "NAME"' in lines
    assert '"content": "_1"' in lines


@pytest.mark.parametrize(
    "choice", ["auto", "required", {"type": "function", "function": {"name": "pay_invoice"}}]
)
def test_a_tool_is_called_with_what_the_picture_says(choice):
    reply = ask(model(*INVOICE), "Please pay this.", tools=[REMIND, PAY], tool_choice=choice)
    (found,) = reply.json()["choices"]
    assert (found["finish_reason"], found["message"]["content"]) == ("tool_calls", None)
    (call,) = found["message"]["tool_calls"]
    assert call["function"]["name"] == "pay_invoice"
    assert json.loads(call["function"]["arguments"]) == {
        "iban": "DE89 3704 0044 0532 0130 00", "to": "Copper Kettle Labs", "amount": 1497.96}  # fmt: skip


def test_a_tool_call_is_streamed_name_first():
    lines = ask(model(*COVERED), "Pay it.", tools=[PAY], stream=True).text.splitlines()
    deltas = [json.loads(line[6:])["choices"][0]["delta"] for line in lines if line.startswith("data: {")]
    parts = [each["tool_calls"][0] for each in deltas if "tool_calls" in each]
    assert parts[0]["function"] == {"name": "pay_invoice", "arguments": ""}
    text = "".join(each["function"]["arguments"] for each in parts)
    assert json.loads(text)["to"] == "NAME_1"


@pytest.mark.parametrize(
    ("question", "fields", "messages"),
    [
        ("What is the total?", {"tools": [PAY], "tool_choice": "none"}, []),
        ("What is the total?", {"tools": [REMIND]}, []),
        ("Pay: what is the total?", {"tools": [PAY]}, [{"role": "tool", "tool_call_id": "c", "content": "done"}]),
    ],
)  # fmt: skip
def test_an_answer_is_text_where_no_tool_is_meant_or_it_has_been_called(question, fields, messages):
    message = ask(model(*INVOICE), question, messages=messages, **fields).json()["choices"][0]["message"]
    assert message["content"] == "$1,497.96"
    assert "tool_calls" not in message


def test_structured_output_has_the_demanded_form():
    schema = {
        "type": "object",
        "properties": {
            "sender": {"type": "string"},
            "unread": {"type": "integer"},
            "due": {"type": "string", "description": "When is it due?"},
            "phones": {"type": "array", "items": {"type": "string"}, "description": "Which phone is given?"},
            "bank": {"type": "object", "properties": {"iban": {"type": "string"}}},
            "weather": {"type": "string"},
            "paid": {"type": "boolean"},
        },
        "required": ["sender", "unread", "phones", "weather", "paid"],
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "letter", "schema": schema, "strict": True}}
    reply = ask(model(*COVERED), "Extract.", response_format=wanted).json()["choices"][0]["message"][
        "content"
    ]
    assert json.loads(reply) == {
        "sender": "NAME_1", "unread": 2, "due": "DATE_2", "phones": ["PHONE_1"], "bank": {"iban": "IBAN_1"},
        "weather": "", "paid": False}  # fmt: skip


def test_what_is_not_in_the_picture_is_not_known():
    assert model("thank you").answer(picture(), "What is the total?").text == "I don't know."


def test_a_numbered_list_gets_a_line_for_each_question():
    reply = model(*INVOICE).answer(picture(), "1. Whom is it from?\n2. When is it due?")
    assert reply.text == "1. Copper Kettle Labs\n2. 03/25/2026"


def test_a_picture_is_read_once_for_several_questions():
    class Counting:
        reads = 0

        def read(self, image):
            assert image.size == SIZE
            self.reads += 1
            return words_of(*INVOICE)

    reader = Counting()
    made = ScreenModel(reader)
    for question in ("Whom is it from?", "When is it due?"):
        made.answer(picture(), question)
    assert reader.reads == 1
