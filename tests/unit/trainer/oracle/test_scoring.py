"""From answers to scores."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models import FakeListChatModel

from langchain_vpp.errors import OracleError
from trainer.oracle.query import Answer
from trainer.oracle.scoring import AnswerJudge, accuracy, chosen, distribution, kind, normalise, refused

COLOURS = ("red", "blue", "dark blue", "green")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  The SIGN is Red. ", "sign is red"),
        ("THREE", "3"),
        ("ten", "10"),
        ("a", ""),
        ("ﬁve", "5"),
        ("Straße", "strasse"),
        ("30-39", "30-39"),
        ("C++", "c++"),
        ("don't", "don't"),
        ("", ""),
    ],
)
def test_normalise(text, expected):
    assert normalise(text) == expected


@given(st.text())
def test_normalise_changes_nothing_the_second_time(text):
    once = normalise(text)
    # Number words and articles may come together anew only through characters that NFKC makes; none do.
    assert normalise(once) == once


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("red", 0),
        ("It is Red!", 0),
        ("dark blue", 2),
        ("a dark blue sign", 2),
        ("blue", 1),
        ("red or green", None),
        ("reddish", None),
        ("", None),
        ("I can't help with that.", None),
    ],
)
def test_chosen_is_the_one_choice_that_an_answer_names(text, index):
    assert chosen(text, COLOURS) == index


def test_chosen_reads_number_words():
    assert chosen("There are three.", ("1", "2", "3")) == 2


def test_accuracy_against_the_reference():
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


tokens = st.dictionaries(
    st.sampled_from(["red", "blue", "Green", "dark", "?", ""]), st.floats(-1e4, 0.01) | st.just(-math.inf)
)


@given(st.text(), st.none() | tokens, st.lists(st.sampled_from(COLOURS), min_size=1, unique=True))
def test_every_answer_is_a_distribution(text, logprobs, options):
    mass = distribution(Answer(text, logprobs), options)
    assert len(mass) == len(options)
    assert min(mass) >= 0
    assert sum(mass) == pytest.approx(1)


REFUSALS = (
    "I can't help with people.",
    "I can\u2019t help with identifying the person.",
    "I'm sorry, but I can't assist with that.",
    "I am unable to identify people in images.",
    "Sorry, I cannot tell whether the sign is red.",
    "Unfortunately, I can't determine that.",
    "As an AI, I don't identify people.",
    "I won\u2019t answer that.",
    "I apologize, that is not something I do.",
)


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_is_no_answer_even_if_it_names_a_choice(text):
    assert refused(text)
    assert kind(text) == kind(text, COLOURS) == "refused"
    assert chosen(f"{text} red", COLOURS) is None


@pytest.mark.parametrize(
    "text",
    [
        "red",
        "It is red, I can't see it well.",
        "sorry",
        "The sign says sorry",
        "I think it is red",
        "no entry",
        "none",
    ],
)
def test_an_answer_is_no_refusal(text):
    assert not refused(text)
    assert kind(text) == "usable"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("...", "empty"),
        ("mauve", "unfit"),
        ("red or blue", "unfit"),
        ("Red", "usable"),
    ],
)
def test_answers_that_fit_no_choice_are_told_from_empty_ones(text, expected):
    assert kind(text, COLOURS) == expected


def test_a_choice_that_reads_like_a_refusal_can_be_chosen():
    assert chosen("I can not know", ("yes", "I can not know")) == 1


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
