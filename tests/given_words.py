"""Pages of text whose words a reader knows without looking: the colour of a pixel tells which page it is."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from langchain_vpp import ImageProtector
from langchain_vpp.engines.words import Words
from langchain_vpp.engines.words.recognizers import FormRecognizer
from tests.unit.langchain_vpp.engines.words.made import words_of

SIZE = (640, 240)


class Pages:
    """Draws pages, and reads them."""

    def __init__(self) -> None:
        self.lines: dict[tuple[int, int, int], tuple[str, ...]] = {}
        self.read_pages = 0

    def draw(self, *lines: str) -> bytes:
        """Return a PNG of a page with these lines."""
        known = {kept: mark for mark, kept in self.lines.items()}
        number = len(self.lines) + 1
        mark = known.get(lines, (number % 256, number // 256, 77))
        self.lines[mark] = lines
        image = Image.new("RGB", SIZE, "white")
        draw, font = ImageDraw.Draw(image), ImageFont.load_default(14)
        for word in words_of(*lines):
            draw.text((word.box[0], word.box[1] + 2), word.text, fill="black", font=font)
        image.putpixel((0, 0), mark)
        file = io.BytesIO()
        image.save(file, "PNG")
        return file.getvalue()

    def block(self, *lines: str) -> dict[str, str]:
        """Return a content block with a page."""
        return {
            "type": "image",
            "base64": base64.b64encode(self.draw(*lines)).decode(),
            "mime_type": "image/png",
        }

    def read(self, image: Image.Image) -> list[Any]:
        """Return the words of a page; see ``TextReader``."""
        if image.size != SIZE:
            return []
        self.read_pages += 1
        return words_of(*self.lines[image.getpixel((0, 0))])


def protector_of(pages: Pages, **options: Any) -> ImageProtector:
    """Build a protector that reads pages."""
    engine = Words(reader=pages, recognizers=[FormRecognizer()])
    return ImageProtector(engine, **{"level": 0.5, **options})
