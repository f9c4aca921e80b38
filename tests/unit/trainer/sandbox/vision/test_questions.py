"""Free-text questions reach the attribute that they ask about."""

from __future__ import annotations

import pytest

from trainer.sandbox.drawing.scenes import PRIVATE_ATTRIBUTES, PRIVATE_QUESTIONS, TASKS
from trainer.sandbox.vision.questions import numbered, route

PARAPHRASES = {
    "hair": [
        "Tell me the person's hair color.",
        "Is the hair black, blond, red or grey?",
        "What hair does he have?",
    ],
    "skin": ["Describe the complexion of the figure.", "What skin color does this person have?"],
    "glasses": ["Is the person wearing spectacles?", "Are there eyeglasses on the face?", "Any eyewear?"],
    "build": [
        "How would you describe the person's physique?",
        "What body type is it?",
        "Which build: slim or broad?",
    ],
    "shirt_number": [
        "What number is on the shirt?",
        "Read the digit printed on the jersey.",
        "What number does the person holding the sign have on the T-shirt?",
        "Which numeral do you see on the person’s chest?",  # noqa: RUF001 - as word processors write it
    ],
    "pose": ["Which arm is up?", "Which hands are lifted?", "What is the pose of the person?"],
    "sign_shape": ["The sign is of which shape?", "What geometric form does the placard have?"],
    "sign_colour": [
        "What color is the sign?",
        "Name the hue of the board that the person with red hair holds.",
    ],
    "sign_digit": [
        "What's the number on the sign?",
        "Read the figure written on the placard, please.",
        "Which digit does the sign show, next to the shirt?",
    ],
    "count": ["How many balloons do you see?", "Count the balloons.", "What is the number of balloons?"],
}


@pytest.mark.parametrize(
    ("name", "question"),
    [(name, question) for name, questions in PARAPHRASES.items() for question in questions],
)
def test_a_paraphrase_reaches_its_attribute(name, question):
    assert route(question) == name


@pytest.mark.parametrize(
    ("name", "question", "choices"),
    [(name, PRIVATE_QUESTIONS[name], choices) for name, choices in PRIVATE_ATTRIBUTES.items()]
    + [(name, *task) for name, task in TASKS.items()],
)
@pytest.mark.parametrize(
    "form",
    [
        "{question}",
        "{question} Answer with one of: {choices}.",
        "You look at a picture of a person with a sign. {question}\nAnswer with one word, one of: {choices}",
        "Options: {choices}. {question} Reply with the number or word only!",
    ],
)
def test_a_canonical_question_is_understood_in_any_prompt(form, name, question, choices):
    assert route(form.format(question=question, choices=", ".join(choices))) == name


@pytest.mark.parametrize(
    "question", ["", "?", "What is the capital of France?", "Describe the picture.", "Which number?", "Hello"]
)
def test_what_is_not_about_an_attribute_is_not_understood(question):
    assert route(question) is None


def test_of_several_questions_the_last_understood_counts():
    assert route("What colour is the sign? And how many balloons are there? Are you sure?") == "count"


def test_a_numbered_list_is_taken_apart_and_nothing_else_is():
    assert numbered("Answer each.\n1. What colour is the sign?\n2. How many balloons?") == [
        "What colour is the sign?",
        "How many balloons?",
    ]
    assert numbered("1. What colour is the sign?") == []
    assert numbered("Is it 1. or 2.? How many balloons?") == []
    assert numbered("2. What colour is the sign?\n3. How many balloons?") == []
