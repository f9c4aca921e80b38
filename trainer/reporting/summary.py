"""Summaries of a report: one plain sentence for each operating point that somebody would choose."""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from trainer.evaluation.results import OURS, STRONGEST
from trainer.reporting.rows import PERCENT, figure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trainer.evaluation.results import OperatingPoint, Reading, Report
    from trainer.statistics import ConfidenceInterval


class Summary(NamedTuple):
    """One sentence about one level of the protector."""

    name: str
    """The preset, or ``level 0.5`` where an artifact names none."""
    level: float
    sentence: str
    point: OperatingPoint | None
    """The measured point; ``None`` if this level was not measured."""


def summaries(report: Report, presets: Mapping[str, float]) -> tuple[Summary, ...]:
    """Summarise every preset by rising level, or every measured level if there are no presets.

    Args:
        report: The evaluation.
        presets: Preset -> level, as in an artifact's manifest; may be empty.
    """
    chosen = dict(presets) or {f"level {point.level:g}": point.level for point in report.of(OURS)}
    result = []
    for name, level in sorted(chosen.items(), key=lambda item: item[1]):
        point = next((each for each in report.of(OURS) if _same(each.level, level)), None)
        sentence = _not_measured(report, level) if point is None else _sentence(report, point)
        result.append(Summary(name, level, sentence, point))
    return tuple(result)


def preset_names(presets: Mapping[str, float], level: float) -> str:
    """List the presets of a level, with commas; empty if it has none."""
    return ", ".join(name for name, each in presets.items() if _same(each, level))


def engine_label(engine: str) -> str:
    """Name an engine for the reader of a page."""
    return "this protector" if engine == OURS else engine


def strongest(readings: Iterable[Reading]) -> dict[str, Reading]:
    """Select the reading of each subject that comes nearest to the accuracy on originals.

    Readings that can't be scaled tell nothing about the protection and are left out.
    """
    best: dict[str, Reading] = {}
    for reading in readings:
        if reading.scaled is None:
            continue
        rival = best.get(reading.subject)
        if rival is None or _scaled(reading) > _scaled(rival):
            best[reading.subject] = reading
    return best


def percent(share: float) -> str:
    """Write a share as a whole percentage.

    Example:
        >>> percent(0.346)
        '35%'
    """
    return PERCENT.write(share)


def percent_interval(estimate: ConfidenceInterval) -> str:
    """Write an accuracy with its 95 % interval, as in ``35% [31, 40]``."""
    return figure(estimate, PERCENT).line


def _same(level: float, other: float) -> bool:
    return math.isclose(level, other, abs_tol=1e-9)


def _not_measured(report: Report, level: float) -> str:
    around = sorted(report.of(OURS), key=lambda point: abs(point.level - level))[:2]
    near = " and ".join(
        f"{point.level:g}" + (f" (leak {point.leak.value:.2f})" if point.leak else "")
        for point in sorted(around, key=lambda point: point.level)
    )
    claim = f"This level ({level:g}) was not measured, so nothing is claimed for it"
    return f"{claim}; the nearest measured ones are {near}." if near else f"{claim}."


def _sentence(report: Report, point: OperatingPoint) -> str:
    parts = (_read(report, point), _answered(report, point), _worst(point), _words(point), _unknown(point))
    text = "; ".join(filter(None, parts))
    return f"{text[0].upper()}{text[1:]}."


def _read(report: Report, point: OperatingPoint) -> str:
    best = strongest(point.attributes)
    if not best:
        return "what a fresh attacker reads was not measured"
    originals = strongest(report.originals.attributes)
    attackers = {each.reader for each in point.attributes} - {STRONGEST}
    who = "a fresh attacker" if len(attackers) == 1 else f"the strongest of {len(attackers)} attackers"
    which = (
        f"the {len(best)} private attributes"
        if len(best) > 1
        else f"the private attribute {next(iter(best))}"
    )
    return (
        f"{who} still reads {which} right in {percent(_mean(best.values()))} of cases "
        f"({percent(fmean(each.chance for each in best.values()))} by guessing, "
        f"{percent(_mean(originals[subject] for subject in best if subject in originals))} from originals)"
    )


def _answered(report: Report, point: OperatingPoint) -> str:
    answered = _with_accuracy(point.tasks)
    if not answered:
        reason = ", as the evaluation had no chat model" if report.model is None else ""
        return f"what the chat model still answers was not measured{reason}"
    originals = _with_accuracy(report.originals.tasks)
    reference = f"{percent(_mean(originals))} on originals" if originals else "originals were not sent to it"
    return (
        f"the chat model still answers {percent(_mean(answered))} of the task questions right "
        f"({percent(fmean(each.chance for each in answered))} by guessing, {reference})"
    )


def _worst(point: OperatingPoint) -> str:
    # The chat model's own answers count here as an attacker's: it is what the picture is sent to.
    best = strongest([*point.attributes, *point.private_answers])
    if not best:
        return ""
    worst = max(best.values(), key=_scaled)
    if worst.accuracy is None:
        return ""
    figures = (
        f"which the {worst.reader} reads right in {percent_interval(worst.accuracy)} of cases "
        f"({percent(worst.chance)} by guessing)"
    )
    beyond_chance = any(each.accuracy and each.accuracy.low > each.chance for each in best.values())
    if beyond_chance:
        return f"the worst hidden attribute is {worst.subject}, {figures}"
    return f"no attribute is read measurably better than by guessing; closest to it is {worst.subject}, {figures}"


def _words(point: OperatingPoint) -> str:
    """Name the private text that is read most often: a name may show where a face is hidden."""
    if not point.words:
        return ""
    worst = max(point.words, key=lambda each: each.exact.value)
    return f"a text recogniser reads {worst.subject} whole on {percent_interval(worst.exact)} of the pictures"


def _unknown(point: OperatingPoint) -> str:
    known = strongest(point.attributes)
    unknown = [each for each in dict.fromkeys(each.subject for each in point.attributes) if each not in known]
    if not unknown:
        return ""
    return f"nothing is known about {', '.join(unknown)}, hardly readable even on originals"


def _with_accuracy(readings: Iterable[Reading]) -> Sequence[Reading]:
    return [each for each in readings if each.accuracy is not None]


def _mean(readings: Iterable[Reading]) -> float:
    return fmean(each.accuracy.value for each in readings if each.accuracy is not None)


def _scaled(reading: Reading) -> float:
    return -math.inf if reading.scaled is None else reading.scaled
