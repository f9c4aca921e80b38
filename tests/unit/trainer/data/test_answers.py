"""Questions and answers of a data set as indices and as queries."""

from __future__ import annotations

import pytest

from tests.unit.trainer.data.data_folder import TASK, lines, write
from trainer.data.answers import answer_space, as_query, asked_tasks, is_right, references
from trainer.data.dataset import load_dataset
from trainer.oracle.query import Answer, Query


def test_the_answer_space_takes_choices_or_else_all_training_answers(folder):
    entries = lines()
    entries[0]["tasks"] = [TASK, {"question": "How many?", "answer": "Two", "answers": ["2", "3"]}]
    entries[1]["tasks"] = [{"question": "How many?", "answer": "the four"}]
    entries[3]["tasks"] = [{"question": "How many?", "answer": "9"}, {"question": "New?", "answer": "yes"}]
    write(folder, entries)
    dataset = load_dataset(folder)
    space = answer_space(dataset)
    assert space.questions == (TASK["question"], "How many?")
    options = [
        {answer for answer, allowed in zip(space.answers, row, strict=True) if allowed}
        for row in space.candidates
    ]
    assert options == [
        {"red", "blue"},
        {"Two", "3", "the four"},
    ]  # as written; "2" is the same answer as "Two"
    table = references(dataset.examples, space)
    assert [space.answers[index] for index in table[0]] == ["red", "Two"]
    assert table[1].tolist() == [-1, space.answers.index("the four")]
    assert table[3].tolist() == [-1, -1]  # an answer and a question that training never saw


def test_a_query_offers_the_questions_own_options_and_its_answer_is_scored_by_them(folder):
    entries = lines()
    entries[1]["tasks"] = [{"question": "How many?", "answer": "four", "choices": ["two", "four"]}]
    write(folder, entries)
    dataset = load_dataset(folder)
    space = answer_space(dataset)
    query = as_query(space, b"picture", 1)
    assert query == Query(b"picture", "How many?", ("two", "four"))
    reference = int(references(dataset.examples, space)[1, 1])
    assert [is_right(space, Answer(text), 1, reference) for text in ("Four.", "two", "red", "")] == [
        1,
        0,
        0,
        0,
    ]


@pytest.mark.parametrize(
    "choices",
    [
        ["A", "B", "C", "D"],
        ["3.5", "4.0", "12,000"],
        ["The Hague", "Den Bosch", "St. Ives"],
        ["नीला", "हरा", "नाला"],
        ["-5 °C", "5 °C"],
        ["C", "C++", "C#"],
        ["A+", "A-", "AB"],
        ["a", "the", "an"],
        ["🔴", "🟢"],
        ["no", "none", "0"],
    ],
)
def test_choices_are_asked_as_they_are_written_and_each_is_its_own_answer(folder, choices):
    entries = lines()
    for number, entry in enumerate(entries):
        entry["tasks"] = [
            {"question": "Which?", "answer": choices[number % len(choices)], "choices": choices}
        ]
    write(folder, entries)
    dataset = load_dataset(folder)
    space = answer_space(dataset)
    assert as_query(space, b"", 0).prompt == f"Which?\nAnswer with exactly one of: {', '.join(choices)}."
    assert len(space.answers) == len(choices)
    (column,) = references(dataset.examples, space).T
    for reference, entry in zip(column.tolist(), entries, strict=True):
        right = [is_right(space, Answer(choice), 0, reference) for choice in choices]
        assert right == [choice == entry["tasks"][0]["answer"] for choice in choices]
        assert is_right(space, Answer(""), 0, reference) == 0


def test_each_picture_is_asked_with_its_own_choices(folder):
    entries = lines()
    own = (["red", "blue"], ["Blue", "green", "red"], ["pink", "red"], ["grey", "white"])
    for entry, choices in zip(entries, own, strict=True):
        entry["tasks"] = [{"question": "Which?", "answer": choices[0], "choices": choices}]
    write(folder, entries)
    dataset = load_dataset(folder)
    space = answer_space(dataset)
    asked = asked_tasks(dataset.examples, space)
    prompts = [as_query(space, b"", way).choices for way in asked.phrasings[:3, 0].tolist()]
    assert prompts == [tuple(choices) for choices in own[:3]]  # val brings choices of its own
    assert [space.answers[index] for index in asked.references[:3, 0].tolist()] == ["red", "blue", "pink"]
    assert (
        asked.references[3].tolist() == asked.phrasings[3].tolist() == [-1]
    )  # test is not asked in training
    assert references(dataset.examples, space)[3].tolist() == [-1]
    reference, way = int(asked.references[1, 0]), int(asked.phrasings[1, 0])
    assert [is_right(space, Answer(text), way, reference) for text in ("Blue.", "green", "pink")] == [1, 0, 0]


def test_an_open_question_is_asked_with_all_training_answers_as_they_are_written(folder):
    entries = lines()
    for entry, answer in zip(entries, ("The Hague", "1,000", "the hague", "1000"), strict=True):
        entry["tasks"] = [{"question": "Which?", "answer": answer}]
    write(folder, entries)
    dataset = load_dataset(folder)
    space = answer_space(dataset)
    assert set(as_query(space, b"", 0).choices) == {"The Hague", "1,000"}
    first, second = (space.answers.index(answer) for answer in ("The Hague", "1,000"))
    assert references(dataset.examples, space)[:, 0].tolist() == [first, second, first, second]
