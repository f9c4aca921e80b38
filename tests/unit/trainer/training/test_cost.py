"""What a run is foreseen to ask and cost."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from langchain_vpp.cli.app import app
from langchain_vpp.images.codec import encode_image
from langchain_vpp.network.protector import ProtectorConfig
from langchain_vpp.providers import AS_OF, FAMILIES
from tests.unit.image_tokens import GOLDEN, SIZES, TRAINING_SIZES
from trainer.data.answers import answer_space, as_query, asked_tasks
from trainer.data.dataset import load_dataset
from trainer.oracle.ledger import Price
from trainer.oracle.query import Query
from trainer.training.config import TrainerConfig
from trainer.training.cost import estimate, estimate_queries, list_price

QUESTIONS = [
    {"question": f"What colour is sign {number}?", "answer": "red", "choices": ["red", "blue"]}
    for number in range(4)
]


def make_dataset(folder, size, count=24):
    folder.mkdir(exist_ok=True)
    lines = []
    for number in range(count):
        Image.new("RGB", size, (number, 0, 0)).save(folder / f"{number}.png")
        split = ("train", "val", "test")[number % 3]
        private = {"gender": ("f", "m")[number // 3 % 2]}
        lines.append({"image": f"{number}.png", "split": split, "tasks": QUESTIONS, "private": private})
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


@pytest.fixture
def dataset(tmp_path):
    return load_dataset(make_dataset(tmp_path, (640, 320)))


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


@pytest.mark.parametrize("own", [True, False])
def test_the_prompts_that_will_be_sent_are_counted(tmp_path, own):
    """An open question lists the answers of all pictures, a closed one those of its picture."""
    folder = make_dataset(tmp_path, (320, 160))
    entries = [json.loads(line) for line in (folder / "data.jsonl").read_text().splitlines()]
    for number, entry in enumerate(entries):
        answer = f"some words that stand on sign {number}"
        choices = {"choices": [answer, "nothing"]} if own else {}
        entry["tasks"] = [{"question": "What does it say?", "answer": answer, **choices}]
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, entries)))
    data = load_dataset(folder)
    foreseen = estimate(config(), data, "openai:gpt-4o")
    space = answer_space(data)
    ways = asked_tasks(data.split("train"), space).phrasings[:, 0].tolist()
    sent = sum(len(as_query(space, b"", way).prompt) for way in ways) / len(ways)
    image = foreseen.input_tokens - foreseen.queries * (sent / 4)
    assert 0 <= image / foreseen.requests - 255 - 12 < 1
    assert (sent < 150) == own


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


def test_the_list_price_is_that_of_the_providers_table():
    for family in FAMILIES:
        for name, price in family.models.items():
            assert list_price(name) == price
    assert list_price("sandbox") is None


@pytest.mark.slow(seconds=0.12)
@pytest.mark.parametrize("model", GOLDEN)
def test_pictures_of_any_size_are_counted_by_the_providers_table(model):
    for size, tokens in zip(SIZES, GOLDEN[model], strict=True):
        picture = encode_image(Image.new("RGB", size))
        foreseen = estimate_queries([Query(picture, "Which?", ("a", "b"))], model)
        assert f"{tokens} tokens for a picture of {size[0]} x {size[1]} px" in foreseen.basis


@pytest.mark.slow(seconds=11)
@pytest.mark.parametrize("size", TRAINING_SIZES)
def test_the_command_counts_what_the_providers_table_says(size, tmp_path):
    data, config = make_dataset(tmp_path / "data", size, count=6), tmp_path / "config.json"
    config.write_text(json.dumps({"protector": {"working_resolution": max(size)}, "max_queries": 50}))
    arguments = [
        "train",
        "--data",
        str(data),
        "--config",
        str(config),
        "--out",
        str(tmp_path / "run"),
        "--dry-run",
    ]
    for model, golden in GOLDEN.items():
        done = CliRunner().invoke(app, [*arguments, "--model", f"openai:{model}", "--json"])
        assert done.exit_code == 0, done.stderr
        counted = f"{golden[SIZES.index(size)]} tokens for a picture of {size[0]} x {size[1]} px"
        assert json.loads(done.stdout)["basis"].startswith(counted)
