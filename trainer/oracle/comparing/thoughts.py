r"""The answer within a reply: without thoughts, without the wrapping of a dialect, after its last "Answer:".

Servers without a parser for their model's reasoning return it as text. The marks differ between models; all follow one
of few shapes, which are matched by shape rather than by a list of models.
"""

from __future__ import annotations

import re
from typing import Final

_NAMES: Final = (
    r"(?:[a-z]{1,12}[:_])?(?:begin_of_|end_of_|start_|end_)?(?:ant)?(?:inner_?)?"
    r"(?:think(?:ing)?|thoughts?|reasoning|reason|reflect(?:ion|ing)?|scratch_?pad|monologue|rationale|analysis|cot)"
)
_BRACKETED: Final = r"(?:think(?:ing)?|thoughts?)"  # "[analysis]" may be a heading
# <think>, [THINK], ◁think▷, <|begin_of_thought|>, <|START_THINKING|>, <seed:think> ... and their closing marks.
_OPENING: Final = re.compile(
    rf"<\|?(?!end_)\s*{_NAMES}(?:\s[^<>\n]{{0,80}})?\s*\|?>|[\[◁]{_BRACKETED}[\]▷]|<unused94>", re.IGNORECASE
)
_CLOSING: Final = re.compile(
    rf"<\|?\s*/\s*{_NAMES}\s*\|?>|<\|?end_(?:of_)?{_NAMES}\|?>|[\[◁]/{_BRACKETED}[\]▷]|<unused95>|<channel\|>",
    re.IGNORECASE,
)
# <|channel|>analysis<|message|>... <|channel|>final<|message|>...
_CHANNEL: Final = re.compile(r"<\|channel\|?>\s*([a-z_]+)[^<>\n]{0,40}(?:<\|message\|>|\n)", re.IGNORECASE)
_SPOKEN_CHANNELS: Final = frozenset({"final", "answer", "response", "output"})
_END: Final = re.compile(
    r"(?:\s*(?:<\|(?:return|end|im_end|eot_id|eom_id|end_of_text|endoftext)\|>|</s>|<eos>|<end_of_turn>))+\s*\Z"
)
_WRAPPERS: Final = (
    re.compile(
        r"<(?P<tag>(?:final_?)?(?:answer|response|output|solution|result)|final)>(?P<text>.*?)(?:</(?P=tag)>|\Z)",
        re.IGNORECASE | re.DOTALL,
    ),
    re.compile(
        r"<\|begin_of_(?P<tag>box|solution|answer)\|>(?P<text>.*?)(?:<\|end_of_(?P=tag)\|>|\Z)", re.DOTALL
    ),
    re.compile(r"\\boxed\s*\{(?P<text>[^{}]*(?:\{[^{}]*\}[^{}]*)*)\}"),
)
_ANSWER_WORDS: Final = (
    "answer|antwort|réponse|respuesta|risposta|resposta|antwoord|svar|odpověď|odpowiedź|vastaus|válasz|cevap|yanıt|"
    "ответ|відповідь|απάντηση|答案|答え|回答|答|정답|답변|답|jawaban|câu trả lời|đáp án|คำตอบ|उत्तर|الإجابة|الجواب|תשובה"
)
_CONCLUSION: Final = re.compile(
    rf"(?:(?<!\w)(?:{_ANSWER_WORDS})(?:[^\w:：\n]{{0,8}}[:：]|[ \t*_#]{{0,8}}\n))", re.IGNORECASE
)


def without_thoughts(text: str) -> str:
    """Remove a model's thoughts: the answer is what follows the last closing mark.

    An unclosed thought has no answer yet, so nothing is left.

    Example:
        >>> without_thoughts("<think>It could be red or green.</think> green")
        'green'
        >>> without_thoughts("It could be red.</think> green")
        'green'
        >>> without_thoughts("<think>It could be red or")
        ''
    """
    for mark in list(_CLOSING.finditer(text))[-1:]:
        text = text[mark.end() :]
    for channel in list(_CHANNEL.finditer(text))[-1:]:
        text = text[channel.end() :] if channel[1].casefold() in _SPOKEN_CHANNELS else ""
    return "" if _OPENING.search(text) else _END.sub("", text).strip()


def unwrapped(text: str) -> str:
    r"""Remove thoughts, and then the wrapping of an answer, such as ``<answer>`` or ``\boxed``.

    Example:
        >>> unwrapped("It is round.\n\\boxed{4}")
        '4'
    """
    text = without_thoughts(text)
    for wrapper in _WRAPPERS:
        inside = [match["text"].strip() for match in wrapper.finditer(text)]
        if inside and inside[-1]:
            text = inside[-1]
    return text


def said(text: str) -> str:
    """Return what a reply says: its thoughts and its wrapping removed, from its last "Answer:" on.

    Example:
        >>> said("<think>Hm.</think>It could be red or green. <answer>Answer: red</answer>")
        'red'
    """
    return conclusion(unwrapped(text))


def conclusion(text: str) -> str:
    r"""Extract the conclusion of an answer: the part after its last "Answer:", or all of it if there is none.

    Example:
        >>> conclusion("It could be a man. The hair is long, though.\nAnswer: **woman**")
        '**woman**'
    """
    end = 0
    for mark in _CONCLUSION.finditer(text):
        end = mark.end()
    return text[end:].strip() or text
