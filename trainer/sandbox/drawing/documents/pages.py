"""Pages with private items in many layouts, fonts, sizes and colours, on screen or as a scanner sees them."""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from trainer.sandbox.drawing.documents.browser import PlacedWord, PrivateSpan, find_browser, render
from trainer.sandbox.drawing.documents.people import invent_people
from trainer.sandbox.drawing.photograph import box_corners, homography, photograph
from trainer.sandbox.drawing.scenes import pick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trainer.sandbox.drawing.photograph import Points

    Box: TypeAlias = tuple[float, float, float, float]

TUNED: Final = (
    "letter", "invoice", "chat", "mail_list", "crm_table", "terminal", "id_card", "web_form", "calendar", "code",
    "wiki", "browser", "workspace", "shell", "preferences", "dashboard", "ide", "tickets", "code_review", "mail_client",
    "sheet", "vault_list", "week_view", "store_admin", "video_call", "file_browser", "onboarding", "letter_german",
    "statement", "channels", "mail_read", "contact", "server_log", "member_card", "settings", "board", "order",
    "docs_site", "repo_tree", "api_client", "build_terminal", "team_chat", "cloud_console",
)  # fmt: skip
"""Layouts that a policy may be tuned with."""
HELD_BACK: Final = (
    "hotel_booking", "clinic_portal", "deal_board", "phone_chat", "pipeline_run", "payslip", "doc_editor",
    "help_widget", "user_admin", "letter_french",
)  # fmt: skip
"""Layouts that serve for measuring alone. They were written after the policy was tuned with the others."""
Taken: TypeAlias = Literal["screen", "scan", "photo"]
"""A screenshot; the page as a scanner sees it, slightly turned and with noise; or a photograph of a print."""
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
        taken: The way in which the picture was taken.
        picture: The picture, RGB.
        spans: Private text with its boxes in the picture.
        words: Words outside of private text.
    """

    layout: str
    taken: Taken
    picture: Image.Image
    spans: tuple[PrivateSpan, ...]
    words: tuple[PlacedWord, ...] = ()


def draw_document(
    layout: str,
    *,
    seed: int,
    taken: Taken = "screen",
    scales: Sequence[float] = (1.0, 1.5, 2.0),
    window: tuple[int, int] = _WINDOW,
) -> Document:
    """Draw a page with invented people.

    Args:
        layout: A name in :data:`TUNED` or :data:`HELD_BACK`.
        seed: Seed of people, fonts, sizes and colours.
        taken: The way in which the picture is taken.
        scales: Device scale factors, one of which is drawn.
        window: Width and height of the browser's window, CSS pixels.

    Raises:
        DataError: If there is no browser, or it makes no picture.
    """
    generator = np.random.default_rng((seed, _STREAM, zlib.crc32(layout.encode())))
    page = design_page(layout, generator)
    scale = scales[int(generator.integers(len(scales)))]
    rendered = render(page, window, scale, browser=find_browser())
    size = rendered.picture.size
    spans = tuple(_inside(rendered.spans, size))
    words = tuple(word for word in rendered.words if _lies_in(word.box, size))
    if taken == "screen":
        return Document(layout, taken, rendered.picture, spans, words)
    picture, place = (_scanned if taken == "scan" else _photographed)(rendered.picture, generator)
    return Document(
        layout,
        taken,
        picture,
        tuple(span._replace(boxes=tuple(map(place, span.boxes))) for span in spans),
        tuple(word._replace(box=place(word.box)) for word in words),
    )


def _inside(spans: Sequence[PrivateSpan], size: tuple[int, int]) -> Iterator[PrivateSpan]:
    """Yield the spans whose lines all lie in the picture; a page may be longer than its window."""
    for span in spans:
        if all(_lies_in(box, size) for box in span.boxes):
            yield span


def _lies_in(box: Box, size: tuple[int, int]) -> bool:
    return 0 <= box[0] < box[2] <= size[0] and 0 <= box[1] < box[3] <= size[1]


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
    picture: Image.Image, generator: np.random.Generator
) -> tuple[Image.Image, Callable[[Box], Box]]:
    """Turn a picture by up to a degree, and add noise and the traces of a JPEG; also return where boxes lie then."""
    angle = float(generator.uniform(-1.0, 1.0))
    turned = picture.rotate(angle, Image.Resampling.BICUBIC, fillcolor=picture.getpixel((2, 2)))
    pixels = np.asarray(turned, dtype=np.float32) + generator.normal(0, 6, (turned.height, turned.width, 1))
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=70)
    return Image.open(buffer).convert("RGB"), lambda box: _turned(box, angle, picture.size)


def _photographed(
    picture: Image.Image, generator: np.random.Generator
) -> tuple[Image.Image, Callable[[Box], Box]]:
    """Photograph a print that lies on a desk, seen at a slight angle; also return where boxes lie then."""
    size = np.array(picture.size)
    print_corners = box_corners(0, 0, *picture.size)
    corners = print_corners * 0.94 + size * 0.03 + generator.uniform(-0.008, 0.008, (4, 2)) * size
    opaque = Image.new("L", picture.size, 255)
    taken = photograph(generator, picture, opaque, corners, picture.size)
    forth = homography(print_corners, corners)

    def place(box: Box) -> Box:
        points = np.column_stack((box_corners(*box), np.ones(4))) @ forth.T
        return _around(points[:, :2] / points[:, 2:])

    return taken, place


def _turned(box: Box, degrees: float, size: tuple[int, int]) -> Box:
    """Return the box around a box that is turned about the middle of the picture, counter-clockwise."""
    radians = np.deg2rad(degrees)
    middle = np.array(size) / 2
    turn = np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])
    return _around((box_corners(*box) - middle) @ turn + middle)


def _around(points: Points) -> Box:
    left, top = points.min(0).tolist()
    right, bottom = points.max(0).tolist()
    return left, top, right, bottom
