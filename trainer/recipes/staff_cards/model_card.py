"""Model card of the staff cards' artifact: its training, its figures, and the pictures it was not measured on."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Final, NamedTuple

from trainer.evaluation.results import OURS, STRONGEST
from trainer.reporting.details import other_pictures_table
from trainer.reporting.markdown import for_markdown
from trainer.reporting.rows import COUNT, PERCENT, Cell, Column, Form, Row, Section, Table, figure
from trainer.reporting.summary import preset_names, summaries

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_vpp.artifact import Manifest
    from trainer.evaluation.results import OperatingPoint, Report
    from trainer.recipes.staff_cards.out_of_distribution import Seen
    from trainer.statistics import ConfidenceInterval

_TEMPLATE: Final = Path(__file__).parent / "card.md"
_TENTHS: Final = Form(1, 100.0, "%")
_EMPTY: Final = Cell("")
_GALLERIES: Final = {"originals": "originals", "protected": "pictures protected alike"}


def render_card(manifest: Manifest, report: Report | None = None, others: Sequence[Seen] = ()) -> str:
    """Fill in the card.

    Args:
        manifest: Manifest of the artifact.
        report: Audit of the artifact; without one the card says that there was none.
        others: Measurements on cards unlike those of training, and on pictures of other things.
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
        domain=_domain(manifest),
        audit="\n".join(_audit(manifest, report)) if report else "It has not been audited.",
        others=for_markdown(_others_table(others)) if others else "Nobody has looked.",
        documents=for_markdown(other_pictures_table(report, manifest.presets))
        if report and report.other_pictures
        else "Nobody has looked.",
    )


def _domain(manifest: Manifest) -> str:
    facts = manifest.domain
    if facts is None:
        return "It has no such statistics yet."
    kinds = "\n".join(f"- {kind}: {share:.0%}" for kind, share in facts.told_apart.items())
    return (
        f"Of {facts.val} new cards, each at five levels, {facts.covered:.1%} are covered by mistake. Covered of new "
        f"pictures of the kinds that the statistics were fitted against:\n\n{kinds}"
    )


def write_card(artifact: Path, text: str) -> None:
    """Write a card into an artifact's folder."""
    (artifact / "README.md").write_text(text, encoding="utf-8")


def _audit(manifest: Manifest, report: Report) -> Iterator[str]:
    yield f"On {report.images['test']} cards of the test split. Attackers: {report.attacker}."
    yield ""
    for verdict in summaries(report, manifest.presets):
        yield f"- **{verdict.name}** (level {verdict.level:g}): {verdict.sentence}"
    yield ""
    yield for_markdown(_readings_table(manifest, report))


def _readings_table(manifest: Manifest, report: Report) -> Table:
    """Make the table of everything that was read, with a column for each level."""
    points = report.of(OURS)
    names = (preset_names(manifest.presets, point.level) or f"level {point.level:g}" for point in points)
    originals, *columns = (_figures(point) for point in (report.originals, *points))
    rows = []
    for key in dict.fromkeys(key for column in (originals, *columns) for key in column):
        floor = next(column[key].floor for column in (originals, *columns) if key in column)
        shown, *protected = (
            column[key].share if key in column else _EMPTY for column in (originals, *columns)
        )
        rows.append(Row((*map(Cell, key), shown, floor, *protected)))
    headings = ("right, or read", "by", "originals", "chance", *names)
    return Table("Readings", tuple(map(Column, headings)), (Section(tuple(rows)),))


class _Figure(NamedTuple):
    share: Cell
    """Share that was read."""
    floor: Cell
    """Share expected by chance."""


def _figures(point: OperatingPoint) -> dict[tuple[str, str], _Figure]:
    """Map each subject and its reader to its figures."""
    readings = [
        *point.tasks,
        *(each for each in point.attributes if each.reader == STRONGEST),
        *point.private_answers,
    ]
    rows = {
        (each.subject.replace("_", " "), each.reader): _shares(each.accuracy, each.chance)
        for each in readings
        if each.accuracy is not None
    }
    words = {
        (f"{each.subject}, whole", "text recogniser"): _shares(each.exact, each.exact_floor)
        for each in point.words
    }
    people = {
        (f"who it is, among {each.people} {_GALLERIES[each.gallery]}", "re-identification"): _shares(
            each.top1, each.top1_floor
        )
        for each in point.identity
    }
    return rows | words | people


def _shares(share: ConfidenceInterval, floor: float) -> _Figure:
    return _Figure(figure(share, PERCENT), figure(floor, PERCENT))


def _others_table(others: Sequence[Seen]) -> Table:
    """Make the table of what is shown of cards that are unlike those of training, and of other things."""
    headings = ("picture", "how many", "not grey", "fields that are read", "cards with a private part shown")
    rows = tuple(
        Row(
            (
                Cell(each.kind),
                figure(each.pictures, COUNT),
                figure(each.stands_out, _TENTHS),
                *(figure(share, PERCENT, missing="") for share in (each.fields, each.private)),
            )
        )
        for each in others
    )
    return Table("Other pictures", tuple(map(Column, headings)), (Section(rows),))
