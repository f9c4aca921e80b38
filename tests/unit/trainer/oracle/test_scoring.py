"""From answers to scores."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models import FakeListChatModel

from langchain_vpp.errors import OracleError
from trainer.oracle.query import Answer
from trainer.oracle.scoring import AnswerJudge, accuracy, distribution

COLOURS = ("red", "blue", "dark blue", "green")


def test_accuracy_against_the_reference():
    assert accuracy("<think>green?</think>Red.", "red") == 1
    assert [accuracy(text, "red") for text in ("'red'", "- red", "_red_", "Answer: red")] == [1, 1, 1, 1]
    assert (
        accuracy("1,000", "1000")
        == accuracy("none", "0")
        == accuracy("1,000", "1000", choices=("1", "1000"))
        == 1
    )
    assert accuracy("3 5", "3.5") == accuracy("12", "1,2") == 0
    assert accuracy("The Red", "red") == 1
    assert accuracy("It is red", "red") == 0  # without choices only the whole answer counts
    assert accuracy("It is red", "red", choices=COLOURS) == 1
    assert accuracy("green", "red", choices=COLOURS) == 0
    assert accuracy("red green", "red", choices=COLOURS) == 0


@pytest.mark.parametrize(("agreeing", "score"), [(0, 0), (1, 1 / 3), (2, 2 / 3), (3, 1), (10, 1)])
def test_soft_accuracy_counts_agreeing_annotators(agreeing, score):
    answers = ["Red"] * agreeing + ["blue"] * (10 - agreeing)
    assert accuracy("red.", "blue", answers=answers) == pytest.approx(score)


def test_a_distribution_adds_the_tokens_that_name_an_option():
    answer = Answer(
        "red", {"red": math.log(0.5), "Red": math.log(0.2), "blue": math.log(0.2), "x": math.log(0.1)}
    )
    assert distribution(answer, COLOURS) == pytest.approx([0.7 / 0.9, 0.2 / 0.9, 0, 0])


def test_log_probabilities_that_name_no_option_leave_the_text():
    answer = Answer("It is red", {"It": math.log(0.99), "red": math.log(0.01)})
    assert distribution(answer, COLOURS) == pytest.approx([0.9625, 0.0125, 0.0125, 0.0125])


@pytest.mark.parametrize("text", ["", "no idea", "red or blue or green"])
def test_an_answer_that_fits_no_option_says_nothing(text):
    assert distribution(Answer(text), COLOURS) == [0.25] * 4


def test_an_empty_answer_is_never_right():
    for empty in ("", " ", "**", "The.", "<think>A", "<think>A</think>"):
        assert accuracy(empty, "A", choices=("A", "B")) == 0
        assert accuracy(empty, "A") == 0
        assert accuracy(empty, "x", answers=["A", "A", ""]) == 0
        assert distribution(Answer(empty), ("A", "B")) == [0.5, 0.5]
    assert accuracy("", "") == 0


def test_annotators_of_a_question_with_choices_agree_with_the_choice_that_is_named():
    assert accuracy("It is red.", "red", choices=COLOURS, answers=["red", "red", "red", "blue"]) == 1
    assert accuracy("red or blue", "red", choices=COLOURS, answers=["red", "red", "red", "blue"]) == 0


NUMBERS = tuple(map(str, range(1, 13)))


@pytest.mark.parametrize(
    ("answer", "options", "index"),
    [
        (Answer("12", {"1": -0.01}), NUMBERS, 11),  # the token goes on
        (Answer("12", {"1": -0.01, "12": -5.0}), NUMBERS, 11),
        (Answer("1", {"1": -0.01}), NUMBERS, 0),
        (Answer("dark blue", {"dark": -0.01}), ("dark", "dark blue"), 1),
        (Answer("B", {"The": -0.9, "**": -1.5, "B": -0.7}), ("A", "B"), 1),
        (Answer("red, no: green", {"red": -0.1}), ("red", "green"), None),
        (Answer("Not red but green.", {"red": -0.1}), ("red", "green"), 1),  # the text names another
        (Answer("<think>red?</think>green", {"red": -0.1}), ("red", "green"), 1),
        (Answer("A cat, so B", {"A": -0.1}), ("A", "B"), 1),
        (Answer("red or green", {"red": -0.1}), ("red", "green"), None),
        (Answer("I can't tell.", {"red": -0.1}), ("red", "green"), None),
        (Answer("", {"A": -0.1}), ("A", "B"), None),
        (Answer("A", {"\u0120A": -0.1, "\u2581B": -3.0}), ("A", "B"), 0),
    ],
)
def test_log_probabilities_count_only_where_they_agree_with_the_text(answer, options, index):
    mass = distribution(answer, options)
    if index is None:
        assert mass == [1 / len(options)] * len(options)
    else:
        assert mass.index(max(mass)) == index
        assert max(mass) > 0.9


tokens = st.dictionaries(
    st.sampled_from(["red", "blue", "Green", "dark", "?", ""]), st.floats(-1e4, 0.01) | st.just(-math.inf)
)


@given(st.text(), st.none() | tokens, st.lists(st.sampled_from(COLOURS), min_size=1, unique=True))
def test_every_answer_is_a_distribution(text, logprobs, options):
    mass = distribution(Answer(text, logprobs), options)
    assert len(mass) == len(options)
    assert min(mass) >= 0
    assert sum(mass) == pytest.approx(1)


class Recording(FakeListChatModel):
    """Keeps what it is sent."""

    seen: list

    def _call(self, messages, *args, **kwargs):
        self.seen.append(messages)
        return super()._call(messages, *args, **kwargs)


def test_a_judge_is_asked_once_per_pair_in_either_order_and_sees_text_alone():
    model = Recording(responses=["Yes.", "no", "maybe"], seen=[])
    judge = AnswerJudge(model)
    assert judge.same("a sofa", "couch")
    assert judge.same("Couch!", "sofa")
    assert judge.same("sofa", "The sofa")  # the same words need no judge
    assert not judge.same("sofa", "chair")
    assert not judge.same("sofa", "bench")  # neither yes nor no
    assert len(model.seen) == 3
    assert all(isinstance(message.content, str) for messages in model.seen for message in messages)
    assert '"couch"' in model.seen[0][0].content


def test_a_judge_is_asked_about_answers_as_they_are_written_and_thinks_for_itself():
    model = Recording(responses=["<think>yes or no?</think>No."], seen=[])
    judge = AnswerJudge(model)
    assert not judge.same("The Hague", "<think>x</think>Den Bosch")
    assert '"Den Bosch"' in model.seen[0][0].content
    assert '"The Hague"' in model.seen[0][0].content
    assert not judge.same("", "")
    assert not judge.same("<think>sofa", "sofa")
    assert len(model.seen) == 1


def test_a_judge_that_fails_says_so_without_the_answers():
    class Broken(FakeListChatModel):
        def _call(self, messages, *args, **kwargs):
            raise RuntimeError(str(messages))

    with pytest.raises(OracleError, match="did not reply") as caught:
        AnswerJudge(Broken(responses=[])).same("sofa", "couch")
    assert "sofa" not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_judge_decides_open_answers_only():
    def same_meaning(reference, text):
        asked.append((reference, text))
        return True

    asked = []
    assert accuracy("couch", "sofa", same_meaning=same_meaning) == 1
    assert accuracy("couch", "x", answers=["sofa", "sofa", "chair"], same_meaning=same_meaning) == 1
    assert accuracy("green", "red", choices=COLOURS, same_meaning=same_meaning) == 0
    assert accuracy("I can't help with people.", "sofa", same_meaning=same_meaning) == 0
    assert accuracy("", "sofa", same_meaning=same_meaning) == 0
    assert asked == [("sofa", "couch"), ("sofa", "couch"), ("chair", "couch")]
