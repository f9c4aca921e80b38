"""A report as one HTML page: no script, no request, nothing that is not in the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from trainer.evaluation.results import OURS
from trainer.reporting import details
from trainer.reporting.chart import draw_front
from trainer.reporting.files import writing
from trainer.reporting.markup import fill
from trainer.reporting.page import embedded, policy, shown
from trainer.reporting.rows import figure
from trainer.reporting.summary import summaries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from trainer.evaluation.results import Report
    from trainer.reporting.pictures import PictureRow
    from trainer.reporting.rows import Table


def save_html(
    report: Report, path: Path, *, presets: Mapping[str, float], pictures: Sequence[PictureRow] = ()
) -> None:
    """Write a page that a browser shows offline; the same report gives the same bytes.

    Args:
        report: The evaluation.
        path: The file.
        presets: Preset -> level, for the summaries, as in an artifact's manifest; may be empty.
        pictures: Rows of pictures. With *unprotected* rows the page is for the owner of the data, and says so.

    Raises:
        TrainingError: If the file can't be written.
    """
    with writing("page", path):
        path.write_text(render_html(report, presets=presets, pictures=pictures), encoding="utf-8")


def render_html(report: Report, *, presets: Mapping[str, float], pictures: Sequence[PictureRow] = ()) -> str:
    """Fill the page; see :func:`save_html`."""
    style = fill("report.css")
    return fill(
        "report.html",
        # The sheet is this package's, not a user's; the browser refuses any other style than this very one.
        style=Markup(style),  # noqa: S704
        policy=policy(style, with_pictures=bool(pictures)),
        report=report,
        facts=_facts(report),
        summaries=summaries(report, presets),
        presets=presets,
        chart=draw_front(report, presets),
        ours=report.hypervolume(OURS),
        shown=shown,
        figure=figure,
        tables={
            "engines": details.engines_table(report, presets),
            "hypervolume": details.hypervolume_table(report),
            "identity": details.identity_table(report, presets),
            "words": details.words_table(report, presets),
            "others": details.other_pictures_table(report, presets),
            "reconstructions": details.reconstructions_table(report, presets),
            **{kind: details.readings_table(report, kind, presets) for kind in details.KINDS},
        },
        not_tested=_not_tested(report),
        pictures=[embedded(row) for row in pictures],
        holds_originals=any(not row.protected for row in pictures),
    )


def render_tables(title: str, tables: Sequence[Table], warnings: Sequence[str] = ()) -> str:
    """Fill a page of tables alone.

    Args:
        title: Title of the page.
        tables: The tables.
        warnings: Sentences without a full stop that stand before them.
    """
    style = fill("report.css")
    return fill(
        "tables.html",
        style=Markup(style),  # noqa: S704  this package's own
        policy=policy(style, with_pictures=False),
        title=title,
        tables={each.title: each for each in tables},
        warnings=warnings,
        shown=shown,
    )


def _facts(report: Report) -> list[tuple[str, str]]:
    queries = report.queries
    asked = "none"
    if queries.tasks or queries.private:
        asked = (
            f"{queries.tasks:,} task questions and {queries.private:,} private ones; {queries.originals:,} of them "
            f"about unprotected pictures; {queries.paid:,} new in this run, {queries.lost:,} lost"
        )
    facts = [
        ("Chat model", report.model or "none"),
        ("Images", ", ".join(f"{count:,} {split}" for split, count in report.images.items())),
        ("Queries", asked),
        ("Seed", str(report.seed)),
        ("Made with", ", ".join(f"{name} {version}" for name, version in report.created_with.items())),
        ("Artifact digest", report.artifact_digest or "none: the engine is no artifact"),
        ("Data digest", report.data_digest),
    ]
    if report.judge:
        facts.insert(1, ("Judge of open answers", report.judge))
    return facts


def _not_tested(report: Report) -> list[str]:
    """List the threats that the report names, and everything that this evaluation was not asked for."""
    missing = []
    if report.model is None:
        missing.append(
            "what the chat model still answers, and what it reads of the private attributes: there was no chat model"
        )
    elif not any(point.private_answers for point in report.points):
        missing.append("the chat model itself, asked for the private attributes")
    if report.model is not None and not report.queries.originals:
        missing.append("the chat model on originals: its figures are scaled as if it made no mistake on them")
    return [*missing, *report.not_tested]
