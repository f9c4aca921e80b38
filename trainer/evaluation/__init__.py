"""Evaluation: what attackers still read in protected pictures, and what a chat model still answers about them.

:func:`evaluate` measures a protector; :mod:`~trainer.evaluation.drift` and :mod:`~trainer.evaluation.transfer` compare
chat models before one protector.
"""

from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.results import OURS, STRONGEST, OperatingPoint, Reading, Report
from trainer.evaluation.schedule import Phase
from trainer.evaluation.settings import UNTESTED, EvaluationSettings

# The name `evaluate` stands for the function, not for the module that defines it: the module is imported here, once, so
# that a later `import trainer.evaluation.evaluate` leaves the name as it is.
__all__ = [
    "OURS",
    "STRONGEST",
    "UNTESTED",
    "EvaluationSettings",
    "OperatingPoint",
    "Phase",
    "Reading",
    "Report",
    "evaluate",
]
