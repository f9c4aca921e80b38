"""What a run is foreseen to ask and cost."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from langchain_vpp.network.protector import ProtectorConfig
from trainer.data.dataset import load_dataset
from trainer.oracle.ledger import Price
from trainer.training.config import TrainerConfig
from trainer.training.cost import AS_OF, LIST_PRICES, estimate, list_price

QUESTIONS = [
    {"question": f"What colour is sign {number}?", "answer": "red", "choices": ["red", "blue"]}
    for number in range(4)
]


@pytest.fixture
def dataset(tmp_path):
    lines = []
    for number in range(24):
        Image.new("RGB", (640, 320), (number, 0, 0)).save(tmp_path / f"{number}.png")
        split = ("train", "val", "test")[number % 3]
        private = {"gender": ("f", "m")[number // 3 % 2]}
        lines.append({"image": f"{number}.png", "split": split, "tasks": QUESTIONS, "private": private})
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return load_dataset(tmp_path)


def config(**changes):
    settings = {
        "max_queries": 1000,
        "steps": 100,
        "batch": 8,
        "protector": ProtectorConfig(working_resolution=320),
    }
    return TrainerConfig(**settings | changes)


def test_the_budget_is_what_is_asked_one_question_per_request(dataset):
    foreseen = estimate(config(), dataset, "openai:gpt-4.1-mini", Price(1.0, 10.0))
    # 900 for training; the validation can ask 5 levels x 8 images x 4 questions.
    assert foreseen.queries == 900 + 100
    assert foreseen.requests <= foreseen.queries
    assert foreseen.requests > 990
    per_picture = round(10 * 5 * 1.62)  # 320 x 160 px in patches of 32 px
    assert foreseen.input_tokens >= foreseen.requests * per_picture
    assert foreseen.cost == pytest.approx((foreseen.input_tokens + 10 * foreseen.output_tokens) / 1e6)
    assert f"{per_picture} tokens for a picture of 320 x 160 px" in foreseen.basis
    assert "your price of $1 and $10" in foreseen.basis


def test_a_small_data_set_or_a_short_run_asks_less_than_the_budget(dataset):
    foreseen = estimate(config(max_queries=100_000), dataset, "m")
    # 90 steps after the quiet ones x 8 images x 4 questions, and all of val at 5 levels.
    assert foreseen.queries == 90 * 8 * 4 + 5 * 8 * 4


def test_several_questions_per_call_save_requests_and_tokens(dataset):
    one = estimate(config(max_queries=3000), dataset, "m")
    four = estimate(config(max_queries=3000, questions_per_call=4), dataset, "m")
    assert four.queries == one.queries
    assert four.requests < one.requests / 2
    assert four.input_tokens < one.input_tokens / 2


def test_without_queries_nothing_is_asked_in_training(dataset):
    assert estimate(config(estimator="none", max_queries=0), dataset, "gpt-4o")[:5] == (0, 0, 0, 0, 0.0)


def test_the_list_price_is_named_with_its_date_and_source(dataset):
    foreseen = estimate(config(), dataset, "openai:gpt-4o-mini")
    assert foreseen.cost == pytest.approx(
        (0.15 * foreseen.input_tokens + 0.60 * foreseen.output_tokens) / 1e6
    )
    assert AS_OF in foreseen.basis
    assert "may be out of date: see https://" in foreseen.basis
    assert f"about ${foreseen.cost:.2f}" in foreseen.line


def test_cents_are_shown_too(dataset):
    foreseen = estimate(config(), dataset, "m", Price(0.1, 0.1))
    assert 0 < foreseen.cost < 0.05
    assert f"about ${foreseen.cost:.2g}," in f"{foreseen.line.replace(' (', ',')}"


def test_an_unknown_model_has_an_unknown_cost(dataset):
    foreseen = estimate(config(), dataset, "ollama:llava:7b")
    assert foreseen.cost is None
    assert "an unknown cost" in foreseen.line
    assert "give --price" in foreseen.line
    assert "a guess" in foreseen.line


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("gpt-4o", "gpt-4o"),
        ("openai:gpt-4o-mini", "gpt-4o-mini"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("google_genai:gemini-2.5-flash-lite", "gemini-2.5-flash-lite"),
        ("anthropic:claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("mistralai:mistral-small-latest", "mistral-small"),
        ("gpt-4o-audio-preview", None),
        ("gpt-4", None),
        ("gpt-5-minimal", None),
        ("sandbox", None),
        ("", None),
    ],
)
def test_a_price_is_found_by_name_and_only_for_the_model_or_its_dated_version(name, model):
    found = list_price(name)
    assert found == (None if model is None else LIST_PRICES[model])


def test_every_price_has_a_source_and_output_is_never_cheaper_than_input():
    for each in LIST_PRICES.values():
        assert each.source.startswith("https://")
        assert 0 < each.price.input <= each.price.output


@pytest.mark.parametrize(
    ("model", "size", "tokens"),
    [
        ("gpt-4o", (1024, 1024), 765),  # OpenAI's own examples
        ("gpt-4o", (2048, 4096), 1105),
        ("gpt-4.1-mini", (1024, 1024), 1659),
        ("claude-haiku-4-5", (1000, 1000), 1334),  # Anthropic's
        ("gemini-2.5-flash", (384, 384), 258),  # Google's
        ("gemini-2.5-flash", (960, 540), 516),
    ],
)
def test_pictures_are_counted_as_providers_describe_it(model, size, tokens):
    assert LIST_PRICES[model].image_tokens(*size) == tokens
