"""What a model says, apart from what it thinks and from how its server wraps it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.oracle.comparing import conclusion, said, without_thoughts

THOUGHT = "It could be red.\n1. green\nAnswer: blue"
MARKS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<THINK>", "</THINK>"),
    ("", "</think>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<reflection>", "</reflection>"),
    ("<scratchpad>", "</scratchpad>"),
    ("<analysis>", "</analysis>"),
    ("<antThinking>", "</antThinking>"),
    ("<inner_monologue>", "</inner_monologue>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("\u25c1think\u25b7", "\u25c1/think\u25b7"),
    ("<|think|>", "<|/think|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<unused94>thought\n", "<unused95>"),
    ("<|channel>thought\n", "<channel|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
)


@pytest.mark.parametrize(("opening", "closing"), MARKS)
def test_what_follows_the_last_thought_is_the_answer(opening, closing):
    assert said(f"{opening}{THOUGHT}{closing}\n\nviolet") == "violet"
    assert said(f"{opening}{closing}violet") == "violet"
    assert said(f"{opening}a{closing}b{opening}{THOUGHT}{closing}violet<|im_end|>") == "violet"


@pytest.mark.parametrize(("opening", "_"), [each for each in MARKS if each[0]])
def test_an_unclosed_thought_has_no_answer(opening, _):
    assert said(f"{opening}{THOUGHT}") == ""
    assert said(f"violet {opening}{THOUGHT}") == ""


@pytest.mark.parametrize(
    "text",
    [
        "<answer>violet</answer>",
        "<answer>violet",
        "<|begin_of_box|>violet<|end_of_box|>",
        "so \\boxed{violet}",
        "<final>violet</final>",
        "red or green. Answer: violet",
        "**Answer:** violet",
        "### Answer\nviolet",
        "\u7b54\u6848\uff1aviolet",
        "R\u00e9ponse : violet",
        "Antwort: violet",
    ],
)
def test_wrapping_and_what_precedes_the_conclusion_are_left_out(text):
    assert said(text).strip("* ") == "violet"
    assert said(f"<think>{THOUGHT}</think>{text}").strip("* ") == "violet"


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("man or woman? Answer: woman", "woman"),
        ("**Final answer:** man", "** man"),
        ("Answer: man. No, wait.\nAnswer: woman", "woman"),
        ("woman", "woman"),
        ("I think woman. Answer:", "I think woman. Answer:"),
        ("I think of an answer", "I think of an answer"),
    ],
)
def test_an_answer_comes_to_what_follows_its_last_mark(text, end):
    assert conclusion(text) == end


@given(st.text(alphabet=st.characters(exclude_characters="<>[]\u25c1\u25b7")))
def test_a_text_without_marks_is_kept(text):
    assert without_thoughts(text) == text.strip()
