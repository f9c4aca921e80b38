"""A chat model that sees something is made to tell, and its refusals are no protection."""

from __future__ import annotations

import pytest
import torch

from langchain_vpp.images.codec import encode_image
from tests.chat_models import LookingModel
from tests.unit.drawn_people import draw, fooling, grey, identity, jpeg_noise
from trainer.attackers.prompted import STYLES, PrivateQuery, ask, hear, most_said
from trainer.data.wire import as_image
from trainer.oracle.ledger import Budget, Ledger
from trainer.oracle.oracle import Oracle
from trainer.statistics import bootstrap_mean, chance

_PLACES = ("left", "right")
_QUESTION = "On which side is the square?"
_SORRY = "I'm sorry, but I can't tell private things."


class _Eyes(LookingModel):
    """Finds the square as what is flat; refuses any prompt that does not hold a password."""

    password: str = ""

    def reply(self, text, pixels):
        if self.password not in text:
            return _SORRY
        below = torch.from_numpy(pixels).permute(2, 0, 1)[:, 16:]
        cells = below.unfold(1, 4, 4).unfold(2, 4, 4).flatten(3).var(dim=3).mean(dim=0)
        side = _PLACES[int(cells[1:3, 5:7].mean() < cells[1:3, 1:3].mean())]
        return f"One side is smoother than the other.\n**Answer:** {side}"


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def people():
    return draw(40, 2)


@pytest.fixture
def told(people, tmp_path):
    """Return a chat model's answers in each style, through the real oracle and ledger."""

    def attack(protect, model: _Eyes | None = None):
        pictures = [encode_image(as_image(each / 255)) for each in protect(people.images)]
        queries = [
            ask(picture, _QUESTION, _PLACES, style, generator=_generator(row))
            for style in STYLES
            for row, picture in enumerate(pictures)
        ]
        with Ledger(tmp_path / "ledger.sqlite", model="eyes") as ledger:
            answers = Oracle(model or _Eyes(), ledger, Budget(1000)).ask(queries, purpose="evaluate")
        texts = [None if each is None else each.text for each in answers]
        return {
            style: hear(texts[start : start + len(pictures)], _PLACES)
            for style, start in zip(STYLES, range(0, len(texts), len(pictures)), strict=True)
        }

    return attack


@pytest.mark.parametrize("protect", [identity, jpeg_noise, "fools one network"])
@pytest.mark.trains
def test_what_a_chat_model_still_sees_leaks_in_every_style(told, people, protect) -> None:
    replies = told(fooling(draw(128, 0))[1] if isinstance(protect, str) else protect)
    for reply in replies.values():
        assert reply.scores(people.labels[:, 0]).mean() > 0.9
        assert (reply.refused, reply.unfit, reply.lost) == (0, 0, 0)


def test_constant_grey_tells_nothing_beyond_chance(told, people) -> None:
    labels = people.labels[:, 0]
    for reply in told(grey).values():
        found = bootstrap_mean(reply.scores(labels), torch.arange(40), generator=_generator())
        assert found.low <= chance(labels)


def test_a_refusal_in_one_style_does_not_hide_what_another_brings_out(told, people) -> None:
    labels = people.labels[:, 0]
    replies = told(identity, _Eyes(password="step by step"))
    assert [replies[style].refused for style in STYLES] == [40, 40, 0]
    assert replies["direct"].scores(labels).isnan().all()  # refusals are neither right nor wrong
    assert (most_said(replies) == labels).float().mean() > 0.9


def test_prompts_are_sent_word_for_word(told) -> None:
    model = _Eyes()
    told(identity, model)
    assert not any("single word or number" in each for each in model.calls)
    assert all(_QUESTION in each and "left" in each and "right" in each for each in model.calls)
    assert any("Picture 2: " in each for each in model.calls)
    assert any("Step 3" in each for each in model.calls)


def test_examples_suggest_no_class() -> None:
    classes = ("a", "b", "c")
    texts = {ask(b"", "Which?", classes, "examples", generator=_generator(seed)).prompt for seed in range(40)}
    assert len(texts) == 6  # every order
    for text in texts:
        shots = [
            line.split(": ")[1] for line in text.splitlines() if line.startswith("Picture ") and ": " in line
        ]
        assert sorted(shots) == list(classes)


def test_the_same_generator_gives_the_same_query() -> None:
    first, second = (ask(b"x", "Which?", _PLACES, "steps", generator=_generator(7)) for _ in range(2))
    assert isinstance(first, PrivateQuery)
    assert first == second
    assert first.prompt == second.prompt


def test_what_is_no_answer_is_counted_by_why() -> None:
    reply = hear([_SORRY, f"{_SORRY}\nAnswer: none", "", "left or right", None, "Answer: right"], _PLACES)
    assert (reply.refused, reply.unfit, reply.lost) == (2, 2, 1)
    assert reply.chosen.tolist() == [-1, -1, -1, -1, -1, 1]
    assert reply.scores(torch.tensor([1, 1, 1, 1, 1, -1])).isnan().all()


def test_thoughts_wrappers_and_empty_answers_are_heard_for_what_they_say() -> None:
    said = [
        "<think>left? right? Answer: right</think>left",
        "It could be left.</think>right",
        "<think>left",
        "",
        "**",
        "<answer>right</answer>",
        "not left, but right",
        "neither left nor right",
        f"{_SORRY} <think>x</think>I can't tell.\nAnswer: left",
    ]
    assert hear(said, _PLACES).chosen.tolist() == [0, 1, -1, -1, -1, 1, 1, -1, 0]
    assert hear(["", "The", "<think>"], ["a", "b"]).chosen.tolist() == [-1, -1, -1]


def test_styles_vote() -> None:
    replies = {
        style: hear(answers, _PLACES)
        for style, answers in zip(
            STYLES, [["left", "left", None], ["right", None, None], ["right", "hm", None]], strict=True
        )
    }
    assert most_said(replies).tolist() == [1, 0, -1]


def test_a_question_with_one_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="two classes"):
        ask(b"", "Which?", ("a",), "direct", generator=_generator())
