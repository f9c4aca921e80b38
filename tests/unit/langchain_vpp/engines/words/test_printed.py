"""Words that a document says a page has: they hide what was misread or overlooked, and never show anything."""

from __future__ import annotations

import base64

import pytest
from langchain_core.messages import HumanMessage

from langchain_vpp import ImageProtector
from langchain_vpp.engines.words import Words
from langchain_vpp.engines.words.printed import merged
from langchain_vpp.engines.words.recognizers import FormRecognizer
from langchain_vpp.engines.words.verdict import SHOWN, Verdict
from langchain_vpp.images.pdf import read_pdf
from tests.digital_pdf import digital_pdf
from tests.unit.langchain_vpp.engines.words.made import words_of

NAME, TEXT = Verdict("NAME", strong=True), Verdict("TEXT")


def test_private_is_what_either_says_to_be_private():
    words = words_of("from March Meyer today")
    printed = words_of("from Marcx Meyer today")
    _, verdicts = merged(words, [SHOWN, SHOWN, NAME, SHOWN], printed, [SHOWN, NAME, SHOWN, SHOWN])
    assert verdicts == [SHOWN, NAME, NAME, SHOWN]


def test_harmless_words_over_a_name_show_nothing():
    words = words_of("from Anna Meyer")
    lie = words_of("from this month")
    found, verdicts = merged(words, [SHOWN, NAME, NAME], lie, [SHOWN, SHOWN, SHOWN])
    assert verdicts == [SHOWN, NAME, NAME]
    assert [word.text for word in found] == ["from", "Anna", "Meyer"]


def test_private_words_that_no_reader_found_are_covered_too():
    words = words_of("from")
    printed = [word._replace(line=3) for word in words_of("x", "Anna Meyer")]
    found, verdicts = merged(words, [SHOWN], printed, [SHOWN, NAME, NAME])
    assert [word.text for word in found] == ["from", "Anna", "Meyer"]
    assert verdicts == [SHOWN, NAME, NAME]
    assert found[1].line == found[2].line != found[0].line


def test_where_both_agree_the_exact_spelling_counts():
    words = words_of("Jose DE89.3704 l0l")
    printed = words_of("José DE89-3704 lol")
    found, _ = merged(words, [NAME, NAME, TEXT], printed, [NAME, NAME, TEXT])
    assert [word.text for word in found] == ["José", "DE89-3704", "l0l"]


def test_a_kind_that_is_told_beats_one_that_is_not_known():
    words = words_of("Anna")
    assert merged(words, [TEXT], words, [NAME])[1] == [NAME]
    assert merged(words, [NAME], words, [TEXT])[1] == [NAME]


class Reader:
    """Reads the words of a page in black, as the text of the file says it, but those that it is to overlook."""

    def __init__(self, overlooked=()):
        self.pages, self.overlooked = {}, overlooked

    def expect(self, pdf):
        for page in read_pdf(pdf):
            self.pages[page.image.tobytes()] = page
        return pdf

    def read(self, image):
        page = self.pages.get(image.tobytes())
        if page is None:
            return []
        words = words_of(" ".join(word.text for word in page.words))
        placed = [
            made._replace(box=word.box, line=word.line) for made, word in zip(words, page.words, strict=True)
        ]
        return [word for word in placed if word.text not in self.overlooked]


def block(pdf):
    return HumanMessage(
        [{"type": "file", "base64": base64.b64encode(pdf).decode(), "mime_type": "application/pdf"}]
    )


@pytest.mark.slow(seconds=1)
def test_pages_share_their_tokens_with_each_other_and_with_text():
    pytest.importorskip("pypdfium2")
    reader = Reader(overlooked=("Lovelace",))
    pdf = reader.expect(
        digital_pdf(
            [("Name: Ada Lovelace", 30, 100, True), ("Name: Bo Peterson", 30, 60, True)],
            [("Name: Bo Peterson", 30, 100, True), ("Name: Cy Jorgensen", 30, 60, True)],
        )
    )
    protector = ImageProtector(
        Words(reader=reader, recognizers=[FormRecognizer()]), level=0.5, on_document="rasterize"
    )
    pages, text = protector.protect_messages(
        [block(pdf), HumanMessage("Ada, bo peterson, CY JORGENSEN")], thread_id="1"
    )
    assert [each["type"] for each in pages.content] == ["image", "image"]
    values = [value for _, _, value in protector.conversations.open("thread/1").vault.state()["values"]]
    assert "Bo Peterson" in values
    assert values.count("Bo Peterson") == 1
    assert any("Lovelace" in value for value in values)  # the file says it, though nobody read it
    assert "eterson" not in text.content
    assert "JORGENSEN" not in text.content
    again = protector.protect_messages([block(pdf)], thread_id="2")
    assert again == [pages]
