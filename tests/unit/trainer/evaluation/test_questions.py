"""Questions: drawn evenly, the same for the same seed, and asked only where the settings say so."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.unit.trainer.evaluation.squares import SHIRT, Grey, quick_settings
from trainer.data.format import Example, Task
from trainer.evaluation.conditions import Conditions
from trainer.evaluation.questions import (
    LEAST_PER_QUESTION,
    OTHER_QUESTIONS,
    AskedQuestion,
    Questionnaire,
    chance_floors,
    draw_questions,
    task_questions,
)
from trainer.evaluation.splits import checked_splits


def _examples(*counts: int) -> list[Example]:
    """As many examples with each of several questions; a third of the answers are `no`."""
    return [
        Example(
            image=f"{question}-{row}.png",
            split="test",
            tasks=(Task(question=f"Question {question}?", answer="yes" if row % 3 else "no"),),
        )
        for question, count in enumerate(counts)
        for row in range(count)
    ]


def test_rare_questions_share_one_subject() -> None:
    by_subject = task_questions(_examples(LEAST_PER_QUESTION, 3, 2))
    assert {subject: len(pairs) for subject, pairs in by_subject.items()} == {
        "Question 0?": LEAST_PER_QUESTION,
        OTHER_QUESTIONS: 5,
    }


def test_pairs_are_drawn_evenly_over_the_questions_as_far_as_they_last() -> None:
    by_subject = task_questions(_examples(60, 30, 30))
    drawn = draw_questions(by_subject, 100, seed=0)
    assert Counter(pair.subject for pair in drawn) == {
        "Question 0?": 34,
        "Question 1?": 30,
        "Question 2?": 30,
    }
    assert len(set(drawn)) == len(drawn)
    assert drawn == draw_questions(by_subject, 100, seed=0)
    assert drawn != draw_questions(by_subject, 100, seed=1)


def test_the_chance_floor_is_the_share_of_the_commonest_answer() -> None:
    assert chance_floors(task_questions(_examples(60))) == {"Question 0?": pytest.approx(2 / 3)}


@pytest.mark.parametrize(
    ("choices", "answer", "right", "wrong"),
    [
        (("A", "B"), "A", "The answer is A.", "A red sign"),
        (("3.5", "4.0"), "4", "It is 4.0 metres.", "3,5"),
        (("The Hague", "Hague"), "The Hague", "The Hague!", "Hague"),
        (("A-", "A", "A+"), "A-", "**A-**", "A"),
        ((), "The Hague", "hague", ""),
        ((), "1,000", "<think>1?</think>1000", "1"),
    ],
)
def test_a_question_is_put_as_it_is_written_and_scored_in_normal_form(choices, answer, right, wrong) -> None:
    task = Task(question="Which?", answer=answer, choices=choices)
    (pair,) = task_questions([Example(image="1.png", split="test", tasks=(task,))])[OTHER_QUESTIONS]
    query = AskedQuestion(pair, None).query(b"", 0)
    assert query.choices == choices
    assert (pair.score(right), pair.score(wrong), pair.score("")) == (1, 0, 0)


def test_spellings_of_one_answer_are_one_for_the_chance_floor() -> None:
    answers = ("The Hague", "the hague.", "Delft")
    examples = [
        Example(image=f"{row}.png", split="test", tasks=(Task(question="Where?", answer=answer),))
        for row, answer in enumerate(answers)
    ]
    assert chance_floors(task_questions(examples)) == {OTHER_QUESTIONS: pytest.approx(2 / 3)}


@pytest.mark.parametrize("query_originals", [False, True])
def test_private_questions_are_about_ours_and_originals_and_these_only_on_request(
    dataset, query_originals
) -> None:
    settings = quick_settings(
        baselines={"blur": (0.5,)},
        attacks=("repeated",),
        private_questions={"place": SHIRT},
        styles=("direct", "steps"),
        query_originals=query_originals,
        queries_per_point=20,
    )
    questionnaire = Questionnaire.draw(checked_splits(dataset, settings.private_questions), settings)
    conditions = Conditions.of(Grey(), settings)

    def asked(condition) -> Counter:
        return Counter(each.style for each in questionnaire.under(condition))

    everything = {None: 20, "direct": 20, "steps": 20}
    ours, blur = conditions.points
    assert asked(ours) == everything
    assert asked(blur) == {None: 20}
    assert asked(conditions.repeated[0]) == {}
    assert asked(conditions.originals) == (everything if query_originals else {})
