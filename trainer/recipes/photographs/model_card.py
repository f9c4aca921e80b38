"""The card of the photographs' artifact: what it hides, what it learned from, and what the audit found."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, Final

from trainer.statistics import wilson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from langchain_vpp.artifact import Manifest

_TEMPLATE: Final = Path(__file__).parent / "card.md"
_PASTED: Final = "pasted faces still found"
_PHOTOGRAPHED: Final = "photographs' faces still found"
_READ: Final = "words still read"
_KEPT: Final = "objects kept"


def render_card(manifest: Manifest, report: Mapping[str, Any] | None = None) -> str:
    """Fill in the card.

    Args:
        manifest: Manifest of the artifact; it describes a face detector.
        report: Audit of the artifact; without one the card says that there was none.
    """
    detector = manifest.face_detector
    assert detector is not None
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        {name: f"level {level:g}" for name, level in manifest.presets.items()},
        resolution=manifest.protector["working_resolution"],
        parameters=f"{manifest.protector['width']} channels, blocks {manifest.protector['blocks']}: half a million",
        detector=detector.name,
        source=detector.source,
        detector_licence=detector.licence,
        scales=", ".join(f"{scale:g}" for scale in detector.scales),
        threshold=f"{detector.threshold:g}",
        sure=f"{detector.sure:g}",
        steps=manifest.steps,
        seed=manifest.seed,
        data_digest=manifest.data_digest,
        licence=manifest.licence,
        attribution=manifest.attribution,
        created_with=manifest.created_with,
        audit="\n".join(audit_lines(report)) if report else "It has not been audited.",
    )


def audit_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """Return the tables of an audit, in Markdown, line by line; what was not measured is left out."""
    variants = report["variants"]
    yield f"{report['pasted_faces']} pasted faces of 24 to 200 pixels, in pictures of 640. Shares are of what is found,"
    yield "read or seen on originals. No picture was covered whole for being unfamiliar."
    yield ""
    yield f"| | {' | '.join(variants)} |"
    yield f"|---|{'---|' * len(variants)}"
    for title, pick in _rows(variants):
        cells = [pick(each) for each in variants.values()]
        if any(cells):
            yield f"| {title} | {' | '.join(cells)} |"
    balanced = variants.get("balanced", {})
    if _PASTED in balanced:
        yield from _groups(balanced[_PASTED]["groups"])
    if report["attackers on originals"]:
        yield from _attackers(report["attackers on originals"], balanced["attackers"])
    if report["kept"]:
        yield from _questions(report["kept"])
    if report["other pictures"]:
        yield from _others(report["other pictures"])


def _groups(groups: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield "By groups, pasted faces at `balanced`: share still found by any detector of the audit, and share of those"
    yield "whose oval is covered to nine tenths."
    yield ""
    yield "| group | found on originals | still found | covered |"
    yield "|---|---|---|---|"
    for group, figures in groups.items():
        yield f"| {group} | {figures['of']} | {_percent(figures)} | {100 * figures['covered']:.1f} % |"


def _attackers(originals: Mapping[str, Any], protected: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield "Attackers that learn from protected faces of other people, at `balanced`: linear ones on ImageNet features"
    yield "and pixels of the head and what is around it. Identity is searched among portraits, by the nearest features."
    yield "In brackets 95 % intervals."
    yield ""
    yield "| | originals | balanced | by guessing |"
    yield "|---|---|---|---|"
    for name, before in originals.items():
        after = protected[name]
        title = f"who it is, among {after['people']}" if name == "identity" else name.replace("_", " ")
        yield f"| {title} | {before['right']:.3f} | {_with_ends(after)} | {after['chance']:.3f} |"


def _with_ends(reading: Mapping[str, Any]) -> str:
    ends = wilson(reading["right"], reading["people"])
    return f"{reading['right']:.3f} [{ends.low:.3f}, {ends.high:.3f}]"


def _questions(kept: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield f"Questions about {kept['photographs']} photographs, which the photo model answers: its score against what"
    yield "is annotated, and what it is of its score on originals, with a 95 % interval. The floors need no picture."
    yield "The other detector is NanoDet, which neither taught the protector nor answers the questions."
    yield ""
    yield kept["table"]


def _others(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield ""
    yield "Other kinds of pictures, at `balanced`. *Unfamiliar* ones are covered whole; *grey* is the share of pixels"
    yield "that are covered in all of them if the domain is not asked."
    yield ""
    yield "| kind | pictures | unfamiliar | grey | faces covered |"
    yield "|---|---|---|---|---|"
    for row in rows:
        covered = row["faces covered, were it not"]
        faces = "" if covered is None else f"{100 * covered:.0f} % of {row['faces']}"
        shares = " | ".join(f"{100 * row[key]:.0f} %" for key in ("covered whole", "grey where it is not"))
        yield f"| {row['kind']} | {row['pictures']} | {shares} | {faces} |"


def _rows(variants: Mapping[str, Any]) -> Iterator[tuple[str, Callable[[Mapping[str, Any]], str]]]:
    """Return the title of each row, with a function that fills its cell for one variant."""
    for measure, title in ((_PASTED, "pasted faces"), (_PHOTOGRAPHED, "faces in photographs")):
        figures = variants.get("balanced", {}).get(measure, {})
        for finder in figures.get("detectors", figures):
            path = (measure, "detectors", finder) if measure == _PASTED else (measure, finder)
            yield f"{title}, found by {finder}", partial(_inner, path=path)
    for reader in variants.get("balanced", {}).get(_READ, {}):
        yield f"words of four letters or more, read by {reader}", partial(_inner, path=(_READ, reader))
    for name in next((each[_KEPT] for each in variants.values() if _KEPT in each), {}):
        yield f"{name}, by CenterNet", partial(_inner, path=(_KEPT, name))


def _inner(figures: Mapping[str, Any], *, path: Sequence[str]) -> str:
    for key in path:
        if key not in figures:
            return ""
        figures = figures[key]
    return _percent(figures)


def _percent(figures: Mapping[str, Any]) -> str:
    return "" if figures["share"] is None else f"{100 * figures['share']:.1f} % of {figures['of']}"
