"""Questions and answers of a data set as indices and as queries."""

from __future__ import annotations

from tests.unit.trainer.data.data_folder import TASK, lines, write
from trainer.data.answers import answer_space, as_query, is_right, references
from trainer.data.dataset import load_dataset
from trainer.oracle.query import Answer


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
    assert options == [{"red", "blue"}, {"2", "3", "4"}]
    table = references(dataset.examples, space)
    assert [space.answers[index] for index in table[0]] == ["red", "2"]
    assert table[1].tolist() == [-1, space.answers.index("4")]
    assert table[3].tolist() == [-1, -1]  # an answer and a question that training never saw


def test_a_query_offers_the_questions_own_options_and_its_answer_is_scored_by_them(folder):
    entries = lines()
    entries[1]["tasks"] = [{"question": "How many?", "answer": "four", "choices": ["two", "four"]}]
    write(folder, entries)
    dataset = load_dataset(folder)
    space = answer_space(dataset)
    query = as_query(space, b"picture", 1)
    assert query == (b"picture", "How many?", ("2", "4"))
    reference = int(references(dataset.examples, space)[1, 1])
    assert [is_right(space, Answer(text), 1, reference) for text in ("Four.", "two", "red", "")] == [
        1,
        0,
        0,
        0,
    ]
