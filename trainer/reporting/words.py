"""Tables about the words that readers still read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.reporting.rows import COUNT, Cell, Column, Form, Row, Section, Table

if TYPE_CHECKING:
    from trainer.evaluation.word_results import Share, WordFigures, WordReport, WordsAtLevel

_SHARE = Form(1, 100.0, "%")
_MEASURES = {
    "clean": "without a leak",
    "leaked": "private texts leaked",
    "kept": "other words kept",
    "in_place": "in place",
    "over_covered": "lost beside private text",
}


def word_tables(report: WordReport) -> list[Table]:
    """Make a table of all pictures and kinds of pictures, one of kinds of text, and one of attempts."""
    return [_pictures_table(report), _texts_table(report), _attempts_table(report)]


def _pictures_table(report: WordReport) -> Table:
    sections = []
    for each in report.levels:
        rows = [_row("all pictures", each.figures, main=True)]
        rows += [_row(kind, figures) for kind, figures in (each.by_way | each.by_picture).items()]
        sections.append(Section(tuple(rows), each.level, _match_note(each)))
    caption = f"{report.artifact}; {report.pictures} pictures, read by {', '.join(report.readers)}; Wilson intervals"
    return Table(
        "Words in pictures", (Column(""), *map(Column, _MEASURES.values())), tuple(sections), caption
    )


def _row(name: str, figures: WordFigures, *, main: bool = False) -> Row:
    cells = (Cell(name), *(_share(getattr(figures, measure)) for measure in _MEASURES))
    return Row(cells, "main" if main else "")


def _share(share: Share) -> Cell:
    if share.value is None or share.low is None or share.high is None:
        return Cell("-")
    return Cell(share.value, (share.low, share.high), _SHARE, f"of {share.of}")


def _match_note(each: WordsAtLevel) -> str:
    if each.match is None:
        return ""
    return (
        f"(a matcher names {each.match.hits:.1f} of {each.match.plates} people among {each.match.candidates}; chance "
        f"{each.match.expected_hits:.1f})"
    )


def _texts_table(report: WordReport) -> Table:
    kinds = sorted({kind for each in report.levels for kind in each.by_text})
    rows = tuple(
        Row((Cell(kind), *(_share(each.by_text[kind]) for each in report.levels if kind in each.by_text)))
        for kind in kinds
    )
    columns = (Column("kind of private text"), *(Column(each.level) for each in report.levels))
    return Table("Private texts that can be read", columns, (Section(rows),))


def _attempts_table(report: WordReport) -> Table:
    names = sorted({name for each in report.levels for name in each.by_attempt})
    rows = tuple(
        Row(
            (
                Cell(name),
                *(
                    Cell(each.by_attempt[name].count if name in each.by_attempt else 0, form=COUNT)
                    for each in report.levels
                ),
            )
        )
        for name in names
    )
    columns = (Column("attempt"), *(Column(each.level) for each in report.levels))
    return Table("Private texts that an attempt reads by itself", columns, (Section(rows),))
