"""Words as a reader returns them, made from lines of text."""

from __future__ import annotations

from langchain_vpp.engines.words.reader import Word


def words_of(*lines, letter=10, height=20, pitch=60, left=40, confidence=0.99):
    """Words of lines of text, each below the one before; three spaces make a gap as between columns."""
    found = []
    for number, line in enumerate(lines):
        x = left
        for text in line.split(" "):
            if text:
                box = (x, number * pitch + 10, x + letter * len(text), number * pitch + 10 + height)
                found.append(Word(text, box, confidence, number))
            x += letter * (len(text) + 1) if text else 3 * height
    return found


class FakeReader:
    """Returns words that it was given, and then nothing for pictures of other sizes."""

    def __init__(self, words, size):
        self.words, self.size = words, size

    def read(self, image):
        return self.words if image.size == self.size else []
