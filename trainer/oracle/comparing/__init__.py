"""Comparing answers: the one place that decides what a chat model said and which choice it named.

Oracle, judge, training, evaluation and prompted attack all compare through these functions. Choices are asked as they
are written and compared in a normal form; nothing is thrown away that could be all of an answer.

========================  ==========================================================================================
:func:`said`              the answer without thoughts, wrappers and what precedes its last "Answer:"
:func:`normalise`         the normal form of an answer: equal forms are equal answers
:func:`chosen`            the choice that an answer names, if it names exactly one
:func:`kind`              usable, refused, empty or unfit
========================  ==========================================================================================
"""

from __future__ import annotations

from trainer.oracle.comparing.naming import AnswerKind, choice_keys, chosen, kind, matching
from trainer.oracle.comparing.refusals import refused
from trainer.oracle.comparing.thoughts import conclusion, said, unwrapped, without_thoughts
from trainer.oracle.comparing.words import exact, normalise

__all__ = [
    "AnswerKind",
    "choice_keys",
    "chosen",
    "conclusion",
    "exact",
    "kind",
    "matching",
    "normalise",
    "refused",
    "said",
    "unwrapped",
    "without_thoughts",
]
