"""The card of the photographs' artifact: what it hides, what it learned from, and what the audit found."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from langchain_vpp.artifact import Manifest

_TEMPLATE: Final = Path(__file__).parent / "card.md"
_PASTED: Final = "pasted faces still found"
_PHOTOGRAPHED: Final = "photographs' faces still found"


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
        steps=manifest.steps,
        seed=manifest.seed,
        data_digest=manifest.data_digest,
        licence=manifest.licence,
        attribution=manifest.attribution,
        created_with=manifest.created_with,
        audit="\n".join(audit_lines(report)) if report else "It has not been audited.",
    )


def audit_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """Return the tables of an audit, in Markdown, line by line."""
    variants = report["variants"]
    yield f"{report['pasted_faces']} pasted faces of 24 to 200 pixels (in pictures of 640), and"
    yield f"{report['pictures']['faces']} photographs. Shares are of what is found, read or seen on originals."
    yield "No picture was covered whole for being unfamiliar."
    yield ""
    yield f"| | {' | '.join(variants)} |"
    yield f"|---|{'---|' * len(variants)}"
    for title, pick in _rows(variants):
        yield f"| {title} | {' | '.join(pick(each) for each in variants.values())} |"
    yield ""
    yield "By groups, pasted faces at `balanced`: share still found by any detector of the audit, and share of those"
    yield "whose oval is covered to nine tenths."
    yield ""
    yield "| group | found on originals | still found | covered |"
    yield "|---|---|---|---|"
    for group, figures in variants["balanced"][_PASTED]["groups"].items():
        yield f"| {group} | {figures['of']} | {_percent(figures)} | {100 * figures['covered']:.1f} % |"
    yield ""
    yield "Attackers that learn from protected faces of other people (linear, on ImageNet features and pixels), at"
    yield "`balanced`:"
    yield ""
    yield "| | originals | balanced | by guessing |"
    yield "|---|---|---|---|"
    for name, before in report["attackers on originals"].items():
        after = variants["balanced"]["attackers"][name]
        title = f"who it is, among {after['people']}" if name == "identity" else name.replace("_", " ")
        yield f"| {title} | {before['right']:.3f} | {after['right']:.3f} | {after['chance']:.3f} |"
    yield ""
    yield "Other kinds of pictures, at `balanced`. *Unfamiliar* ones are covered whole; *grey* is the share of pixels"
    yield "that are covered in all of them if the domain is not asked."
    yield ""
    yield "| kind | pictures | unfamiliar | grey | faces covered |"
    yield "|---|---|---|---|---|"
    for row in report["other pictures"]:
        covered = row["faces covered, were it not"]
        faces = "" if covered is None else f"{100 * covered:.0f} % of {row['faces']}"
        shares = " | ".join(f"{100 * row[key]:.0f} %" for key in ("covered whole", "grey where it is not"))
        yield f"| {row['kind']} | {row['pictures']} | {shares} | {faces} |"


def _rows(variants: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    finders = variants["balanced"][_PASTED]["detectors"]
    for finder in finders:
        yield (
            f"pasted faces, found by {finder}",
            lambda each, name=finder: _inner(each, _PASTED, "detectors", name),
        )
    for finder in finders:
        yield (
            f"faces in photographs, found by {finder}",
            lambda each, name=finder: _inner(each, _PHOTOGRAPHED, name),
        )
    yield "words of four letters or more, read by RapidOCR", lambda each: _inner(each, "words still read")
    for name in variants["balanced"]["objects kept"]:
        yield f"{name}, by CenterNet", lambda each, key=name: _inner(each, "objects kept", key)


def _inner(figures: Mapping[str, Any], *path: str) -> str:
    for key in path:
        if key not in figures:
            return ""
        figures = figures[key]
    return _percent(figures)


def _percent(figures: Mapping[str, Any]) -> str:
    return "" if figures["share"] is None else f"{100 * figures['share']:.1f} % of {figures['of']}"
