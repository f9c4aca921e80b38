"""Questions about photographs are made from their annotations, and the model understands them."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.sandbox.drawing.photographs import Annotation
from trainer.sandbox.vision.photos.names import CLASSES
from trainer.sandbox.vision.photos.questions import understand
from trainer.sandbox.vision.photos.tasks import tasks_of

SIZE = (100, 100)


def tasks(topic, **known):
    found = tasks_of(Annotation(image="a.jpg", split="test", **known), SIZE, np.random.default_rng(0))
    return [each for each in found if each.topic == topic]


def objects(*named, box=(0, 0, 50, 50)):
    return [{"object": name, "box": box} for name in named]


def test_as_many_absent_classes_are_asked_about_as_present_ones():
    asked = tasks("objects", objects=objects("dog", "dog", "cat"))
    assert [each.answer for each in asked] == ["yes", "yes", "no", "no"]
    assert not any("dog" in each.question or "cat" in each.question for each in asked[2:])


def test_what_is_too_small_is_not_asked_about_at_all():
    known = objects("dog", "person", box=(0, 0, 5, 5))
    assert [each.answer for each in tasks("objects", objects=known)] == ["no"]
    assert tasks("people", objects=known) == []
    assert not any("dog" in each.question for each in tasks("objects", objects=known))


@pytest.mark.parametrize(("number", "answer"), [(0, "0"), (2, "2"), (7, "3 or more")])
def test_people_are_counted(number, answer):
    (task,) = tasks("people", objects=objects("car", *["person"] * number))
    assert (task.question, task.answer) == ("How many people are in the picture?", answer)


def test_captions_tell_activity_place_and_colour_where_they_agree():
    captions = ("A man surfing a wave", "A surfer rides a wave in the ocean", "A man on a blue surfboard")
    assert [each.answer for each in tasks("activity", captions=captions)] == ["surfing"]
    assert [each.answer for each in tasks("place", captions=captions)] == ["sea"]
    (colour,) = tasks("colour", captions=captions)
    assert (colour.question, colour.answer) == ("What colour is the surfboard?", "blue")
    two = ("A red and white bus", "A red bus beside a blue bus")
    assert tasks("colour", captions=two) == []
    assert tasks("activity", captions=("A man with a dog",)) == []


def test_soft_answers_become_as_many_annotators():
    known = [{"question": "What sport is this?", "answers": {"tennis": 1, "squash": 0.667, "golf": 0.1}}]
    (task,) = tasks("okvqa", okvqa=known)
    assert (task.answer, task.answers, task.choices) == ("tennis", ("tennis",) * 3 + ("squash",) * 2, ())


def test_every_question_about_objects_is_understood():
    for name in CLASSES:
        for task in tasks_of(
            Annotation(image="a", split="test", objects=objects(name)), SIZE, np.random.default_rng(0)
        ):
            assert understand(task.question) is not None, task.question
