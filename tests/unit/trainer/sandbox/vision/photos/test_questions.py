"""Questions in many words ask for the same; what the model can't see is not understood."""

from __future__ import annotations

import time

import pytest

from trainer.sandbox.vision.photos.questions import split_choices, understand


@pytest.mark.parametrize(
    ("question", "kind", "noun"),
    [
        ("Is there a dog?", "presence", ("dog",)),
        ("Isn't there a bike?", "presence", ("bicycle",)),
        ("Can you tell me if there is a sofa?", "presence", ("couch",)),
        ("Do you see any persons?", "presence", ("person",)),
        ("Does this image contain traffic lights?", "presence", ("traffic light",)),
        ("Is a knife visible in the photo?", "presence", ("knife",)),
        ("I like it. Are there any mice here?", "presence", ("mouse",)),
        ("How many people are there in this picture?", "count", ("person",)),
        ("How many men can you see?", "count", ("person",)),
        ("What is the number of buses?", "count", ("bus",)),
        ("What color is the motorbike?", "colour", ("motorcycle",)),
        ("What is the colour of the sofa?", "colour", ("couch",)),
        ("What kind of vehicle is in the picture?", "which", None),
        ("What is the man in the blue shirt doing?", "activity", ()),
        ("Which sport is this?", "activity", ()),
        ("Is she surfing?", "is_activity", ()),
        ("Where was this photo taken?", "place", ()),
        ("What room is this?", "place", ()),
        ("Is this a kitchen?", "is_place", ()),
        ("Was it taken outdoors?", "is_place", ()),
        ("What do you see?", "list", ()),
        ("Is the person a man or a woman?", "gender", ()),
        ("How old is the boy?", "age", ()),
        ("Which caption fits the picture?", "caption", ()),
    ],
)  # fmt: skip
def test_a_question_is_understood_in_many_words(question, kind, noun):
    ask = understand(question)
    assert ask is not None
    assert ask.kind == kind
    if noun is not None:
        assert tuple(each for thing in ask.things for each in thing.classes) == noun


@pytest.mark.parametrize(
    "question",
    [
        "How many people are wearing hats?",
        "What colour is the shirt of the man?",
        "What kind of dog is this?",
        "Where is the dog?",
        "Is the dog asleep?",
        "Is there a unicorn or a dog?",
        "Is there a small dog?",
        "What does the sign say?",
        "Who is the president?",
        "dog",
        "",
    ],
)
def test_a_question_that_the_model_can_not_answer_is_not_understood_as_another(question):
    assert understand(question) is None


@pytest.mark.parametrize(
    ("question", "negated", "every", "number"),
    [
        ("Are there no people?", True, True, 1),
        ("Is there nobody in the picture?", True, True, 1),
        ("Is there a dog and a cat?", False, True, 2),
        ("Is there a dog or a cat?", False, False, 2),
        ("Is there neither a dog nor a cat?", True, False, 2),
        ("Do you see a dog, a cat and two horses?", False, True, 3),
    ],
)
def test_negations_and_lists_are_read(question, negated, every, number):
    ask = understand(question)
    assert (ask.kind, ask.negated, ask.every, len(ask.things)) == ("presence", negated, every, number)


@pytest.mark.parametrize(
    ("question", "least", "most"),
    [
        ("Are there two dogs?", 2, 2),
        ("Are there more than three dogs?", 4, None),
        ("Are there at least 2 dogs?", 2, None),
        ("Are there fewer than two dogs?", 0, 1),
        ("Are there several dogs?", 2, None),
    ],
)
def test_amounts_are_read(question, least, most):
    (thing,) = understand(question).things
    assert (thing.least, thing.most) == (least, most)


def test_choices_are_divided_from_their_question():
    asked = "How many dogs are there?\nAnswer with exactly one of: 0, 1, 2 or 3, 4 or more."
    assert split_choices(asked) == ("How many dogs are there?", ("0", "1", "2 or 3", "4 or more"))
    assert split_choices("Is it big? Answer with a single word or number.") == ("Is it big?", ())
    assert understand(asked).choices == ("0", "1", "2 or 3", "4 or more")
    assert understand("Is this a dog or a cat?").choices == ("dog", "cat")


@pytest.mark.parametrize("piece", ["caption ", "is there a dog and ", "a, ", "what is ", "1: ", ". "])
def test_the_end_of_a_long_text_counts_and_takes_little_time(piece):
    long = piece * 8000
    began = time.process_time()
    assert understand(long + "? Is there a cat?").things[0].noun == "cat"
    understand(long)
    assert time.process_time() - began < 1
