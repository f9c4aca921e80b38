"""The learner: questions in other words, several questions, kinds that pictures lack, and the front."""

from __future__ import annotations

import pytest
import torch

from trainer.data.format import Task
from trainer.training.admission.config import PRICES
from trainer.training.admission.learner import KindsLearner, Subject


def task(question):
    return Task(question=question, answer="x")


def learner(subjects, allowed=("words", "amounts", "names"), choice="informative"):
    generator = torch.Generator().manual_seed(0)
    return KindsLearner(subjects, frozenset(allowed), PRICES, choice=choice, generator=generator)


def teach(made, needs, answers=60):
    for _ in range(answers):
        for probe in made.propose(8):
            seen = made.shown(probe)
            made.observe(probe, float(needs[made.task(probe).question] <= seen))


@pytest.mark.slow(seconds=0.23)
@pytest.mark.parametrize("choice", ["informative", "uniform"])
def test_several_questions_are_learned_each_for_itself(choice):
    kinds = {"words", "amounts", "names"}
    needs = {"What is the total?": {"words", "amounts"}, "Whom is it from?": {"names"}, "Is it day?": set()}
    made = learner([Subject(kinds, [task(each) for each in needs])] * 6, choice=choice)
    teach(made, needs, answers=120)
    assert {question: set(found) for question, found in made.needs().items()} == needs
    assert made.hopeless() == []
    front = made.front(0.01)
    assert [set(offer.kinds) for offer in front] == [set(), {"words", "amounts"}, kinds]
    assert front[0].leak == 0
    assert front[-1].leak == 1


def test_questions_in_other_words_share_what_is_learned():
    kinds = {"words", "amounts"}
    subjects = [
        Subject(kinds, [task(each)])
        for each in ("What is the total?", "what's the total", "Tell me the total")
    ]
    made = learner(subjects)
    assert made.questions == ["What is the total?"]
    teach(made, {subject.tasks[0].question: {"amounts"} for subject in subjects})
    assert made.needs() == {"What is the total?": ("amounts",)}


def test_kinds_that_a_picture_lacks_count_as_seen_and_are_never_shown():
    subjects = [
        Subject({"words"}, [task("Whom is it from?")]),
        Subject({"names"}, [task("Whom is it from?")]),
    ]
    made = learner(subjects)
    assert made.kinds == ("words", "names")
    while probes := made.propose(8):
        for probe in probes:
            assert made.shown(probe) <= subjects[probe.picture].kinds
            made.observe(probe, 1.0)


def test_kinds_that_may_not_be_shown_are_no_part_of_the_search():
    made = learner([Subject({"words", "names"}, [task("Whom is it from?")])], allowed=("words",))
    assert made.kinds == ("words",)
    teach(made, {"Whom is it from?": {"names"}})
    assert made.hopeless() == ["Whom is it from?"]


def test_nothing_is_asked_where_nothing_can_be_learned():
    made = learner([Subject({"words"}, [task("Whom is it from?")])])
    assert made.propose(8, least_information=1.0) == []


def test_pictures_without_kinds_are_refused():
    with pytest.raises(ValueError, match="no picture has a kind"):
        learner([Subject(set(), [task("Whom is it from?")])])
