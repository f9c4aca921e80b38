"""Pages with private items in many layouts, fonts, sizes and colours, on screen or as a scanner sees them."""

from __future__ import annotations

import io
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from trainer.sandbox.drawing.documents.browser import PrivateSpan, find_browser, render
from trainer.sandbox.drawing.documents.people import invent_people
from trainer.sandbox.drawing.scenes import pick

TUNED: Final = (
    "letter", "invoice", "chat", "mail_list", "crm_table", "terminal", "id_card", "web_form", "calendar", "code",
    "wiki", "browser", "workspace", "shell", "preferences",
)  # fmt: skip
"""Layouts that a policy may be tuned with."""
HELD_BACK: Final = (
    "letter_german", "statement", "channels", "mail_read", "contact", "server_log", "member_card", "settings", "board",
    "order",
)  # fmt: skip
"""Layouts that serve for measuring alone."""
_FONTS: Final = (
    "DejaVu Sans",
    "DejaVu Serif",
    "Liberation Sans",
    "Liberation Serif",
    "Liberation Sans Narrow",
)
_ACCENTS: Final = ("#0b57d0", "#0f766e", "#9a3412", "#7e22ce", "#166534", "#be123c", "#334155")
_LIGHT: Final = {
    "back": "#ffffff",
    "ink": "#1a1a1a",
    "muted": "#5f6368",
    "rule": "#d5d8dc",
    "panel": "#f1f3f6",
}
_DARK: Final = {
    "back": "#16181d",
    "ink": "#e8e8e8",
    "muted": "#9aa0a6",
    "rule": "#3a3f47",
    "panel": "#23262d",
}
_STREAM: Final = 211
"""Second word of a drawing's seed."""
_WINDOW: Final = (1280, 800)


class Document(NamedTuple):
    """Picture of a page.

    Attributes:
        layout: Name of the layout.
        taken: A screenshot, or the page as a scanner sees it: slightly turned, with noise and JPEG's traces.
        picture: The picture, RGB.
        spans: Private text with its boxes in the picture.
    """

    layout: str
    taken: Literal["screen", "scan"]
    picture: Image.Image
    spans: tuple[PrivateSpan, ...]


def draw_document(layout: str, *, seed: int, taken: Literal["screen", "scan"] = "screen") -> Document:
    """Draw a page with invented people.

    Args:
        layout: A name in :data:`TUNED` or :data:`HELD_BACK`.
        seed: Seed of people, fonts, sizes and colours.
        taken: The way in which the picture is taken.

    Raises:
        DataError: If there is no browser, or it makes no picture.
    """
    generator = np.random.default_rng((seed, _STREAM, [*TUNED, *HELD_BACK].index(layout)))
    page = design_page(layout, generator)
    scale = (1.0, 1.5, 2.0)[int(generator.integers(3))]
    rendered = render(page, _WINDOW, scale, browser=find_browser())
    if taken == "scan":
        return Document(layout, taken, *_scanned(rendered.picture, rendered.spans, generator))
    return Document(layout, taken, rendered.picture, rendered.spans)


def design_page(layout: str, generator: np.random.Generator) -> str:
    """Write a page in HTML, with private text in elements that have an attribute ``data-private``."""
    people = invent_people(generator, 8)
    return styled_page(layout, generator, p=people[0], q=people[1], people=people)


def styled_page(template: str, generator: np.random.Generator, **values: Any) -> str:
    """Fill a template, and choose its fonts, sizes and colours.

    Args:
        template: Name of a template of this package.
        generator: Source of randomness.
        **values: Variables of the template.
    """
    colours = _DARK if generator.random() < 0.4 else _LIGHT
    style = {
        **colours,
        "accent": pick(generator, _ACCENTS),
        "font": f"'{pick(generator, _FONTS)}'",
        "size": f"{generator.integers(13, 18)}px",
    }
    variables = ";".join(f"--{name}:{value}" for name, value in style.items())
    environment = _environment()
    skin = environment.get_template("skin.css").render()
    body = environment.get_template(f"{template}.html").render(values)
    return f"<!doctype html><meta charset='utf-8'><style>:root{{{variables}}}{skin}</style>{body}"


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("trainer.sandbox.drawing.documents"), undefined=StrictUndefined, autoescape=True
    )
    environment.filters["private"] = _private
    return environment


def _private(text: Any, kind: str) -> Markup:
    return Markup('<span data-private="{}">{}</span>').format(kind, text)


def _scanned(
    picture: Image.Image, spans: tuple[PrivateSpan, ...], generator: np.random.Generator
) -> tuple[Image.Image, tuple[PrivateSpan, ...]]:
    """Turn a picture by up to a degree, and add noise and the traces of a JPEG."""
    angle = float(generator.uniform(-1.0, 1.0))
    turned = picture.rotate(angle, Image.Resampling.BICUBIC, fillcolor=picture.getpixel((2, 2)))
    pixels = np.asarray(turned, dtype=np.float32) + generator.normal(0, 6, (turned.height, turned.width, 1))
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=70)
    moved = tuple(
        span._replace(boxes=tuple(_turned(box, angle, picture.size) for box in span.boxes)) for span in spans
    )
    return Image.open(buffer).convert("RGB"), moved


def _turned(
    box: tuple[float, float, float, float], degrees: float, size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Return the box around a box that is turned about the middle of the picture, counter-clockwise."""
    radians = np.deg2rad(degrees)
    middle = np.array(size) / 2
    corners = np.array([(x, y) for x in box[::2] for y in box[1::2]]) - middle
    turn = np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])
    moved = corners @ turn + middle
    left, top = moved.min(0)
    right, bottom = moved.max(0)
    return float(left), float(top), float(right), float(bottom)
