"""Model card of the staff cards' artifact: its training, its figures, and the pictures it was not measured on."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Final

from trainer.evaluation.results import OURS, STRONGEST
from trainer.reporting.summary import percent, percent_interval, preset_names, summaries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from langchain_vpp.artifact import Manifest
    from trainer.evaluation.results import OperatingPoint, Report
    from trainer.recipes.staff_cards.out_of_distribution import Seen

_TEMPLATE: Final = Path(__file__).parent / "card.md"
_GALLERIES: Final = {"originals": "originals", "protected": "pictures protected alike"}


def render_card(manifest: Manifest, report: Report | None = None, others: Sequence[Seen] = ()) -> str:
    """Fill in the card.

    Args:
        manifest: Manifest of the artifact.
        report: Audit of the artifact; without one the card says that there was none.
        others: Measurements on pictures of other kinds.
    """
    presets = [f"{name} = level {level:.2f}" for name, level in manifest.presets.items()]
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        private=", ".join(manifest.private_attributes).replace("_", " ") + " of the portrait",
        questions=" ".join(manifest.questions),
        trained_against=manifest.trained_against,
        access=manifest.access,
        queries=manifest.queries,
        steps=manifest.steps,
        seed=manifest.seed,
        presets=", ".join(presets) or "none",
        data_digest=manifest.data_digest,
        resolution=manifest.protector["working_resolution"],
        licence=manifest.licence,
        attribution=manifest.attribution,
        created_with=manifest.created_with,
        audit="\n".join(_audit(manifest, report)) if report else "It has not been audited.",
        others="\n".join(_others(others)) if others else "Nobody has looked.",
    )


def write_card(artifact: Path, text: str) -> None:
    """Write a card into an artifact's folder."""
    (artifact / "README.md").write_text(text, encoding="utf-8")


def _audit(manifest: Manifest, report: Report) -> Iterator[str]:
    yield f"On {report.images['test']} cards of the test split. Attackers: {report.attacker}."
    yield ""
    for verdict in summaries(report, manifest.presets):
        yield f"- **{verdict.name}** (level {verdict.level:g}): {verdict.sentence}"
    points = report.of(OURS)
    yield ""
    yield (
        "| right, or read | by | originals | chance | "
        + " | ".join(
            preset_names(manifest.presets, point.level) or f"level {point.level:g}" for point in points
        )
        + " |"
    )
    yield "|---" * (4 + len(points)) + "|"
    originals, *columns = (_figures(point) for point in (report.originals, *points))
    for key in dict.fromkeys(key for column in (originals, *columns) for key in column):
        floor = next(column[key][1] for column in (originals, *columns) if key in column)
        shown = [column.get(key, ("", ""))[0] for column in (originals, *columns)]
        yield f"| {' | '.join(key)} | {shown[0]} | {floor} | {' | '.join(shown[1:])} |"


def _figures(point: OperatingPoint) -> dict[tuple[str, str], tuple[str, str]]:
    """Map each subject and its reader to the share that was read and the share expected by chance."""
    readings = [
        *point.tasks,
        *(each for each in point.attributes if each.reader == STRONGEST),
        *point.private_answers,
    ]
    rows = {
        (each.subject.replace("_", " "), each.reader): (percent_interval(each.accuracy), percent(each.chance))
        for each in readings
        if each.accuracy is not None
    }
    words = {
        (f"{each.subject}, whole", "text recogniser"): (
            percent_interval(each.exact),
            percent(each.exact_floor),
        )
        for each in point.words
    }
    people = {
        (f"who it is, among {each.people} {_GALLERIES[each.gallery]}", "re-identification"): (
            percent_interval(each.top1),
            percent(each.top1_floor),
        )
        for each in point.identity
    }
    return rows | words | people


def _others(others: Iterable[Seen]) -> Iterator[str]:
    yield "| picture | how many | not grey | fields that are read | cards with a private part shown |"
    yield "|---|---|---|---|---|"
    for each in others:
        shares = ("" if share is None else percent(share) for share in (each.fields, each.private))
        yield f"| {each.kind} | {each.pictures} | {each.stands_out:.1%} | {' | '.join(shares)} |"
