"""The model card holds the figures of the audit and of pictures of other kinds."""

from __future__ import annotations

import pytest
from PIL import Image

from langchain_vpp import ImageProtector
from tests.made_reports import MANIFEST, full_report
from tests.portraits import save_portraits
from trainer.evaluation.results import OURS
from trainer.recipes.staff_cards.model_card import render_card
from trainer.recipes.staff_cards.out_of_distribution import Seen, out_of_distribution
from trainer.reporting.summary import percent_interval
from trainer.sandbox.vision.card_model import CARDS
from trainer.sandbox.vision.local_model import LocalVisionModel


class Grey:
    def protect(self, image, level):
        return Image.new("RGB", image.size, (128, 128, 128))


class Identity:
    def protect(self, image, level):
        return image.copy()


def seen(engine, faces) -> dict[str, Seen]:
    vision = LocalVisionModel.load(subject=CARDS)
    return {
        each.kind: each
        for each in out_of_distribution(faces, ImageProtector(engine), vision, count=5, seed=0)
    }


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return save_portraits(tmp_path_factory.mktemp("faces"))


@pytest.mark.slow(seconds=7)
def test_through_the_identity_everything_is_seen_and_of_grey_nothing(faces):
    opened, closed = seen(Identity(), faces), seen(Grey(), faces)
    assert list(opened) == list(closed)
    cards = [kind for kind in opened if kind.startswith("staff card")]
    assert len(cards) >= 7
    assert {"portrait alone", "drawn scene", "page of words"} == {*opened} - {*cards}
    for kind in cards:
        # Whatever is done to a card is undone before it is read, or nothing could be read of it.
        assert opened[kind].fields >= 0.9, kind
        assert opened[kind].private == 1, kind
        assert closed[kind].private == 0, kind
        assert closed[kind].fields < 0.4, kind
    for kind in opened:
        assert opened[kind].stands_out > 0.5, kind
        assert closed[kind].stands_out == 0, kind


def test_the_card_holds_the_figures_of_the_audit():
    report = full_report()
    level = report.of(OURS)[0].level
    manifest = MANIFEST.model_copy(update={"presets": {"balanced": level}})
    card = render_card(manifest, report, [Seen("page of words", 7, 0.0123), Seen("card", 5, 0.5, 0.75, 0.2)])
    assert "$" not in card
    for task in report.originals.tasks:
        shown = percent_interval(task.accuracy)
        assert any(task.subject in line and shown in line for line in card.splitlines()), task.subject
    assert f"**balanced** (level {level:g})" in card
    assert "| page of words | 7 | 1.2% |  |  |" in card
    assert "| card | 5 | 50.0% | 75% | 20% |" in card
    table = [line for line in card.splitlines() if line.startswith("| right, or read")]
    assert len(table) == 1
    assert "balanced" in table[0]
    # Documents: 20 letters and 20 chats.
    assert "| letter | 20 | 100% [84, 100] (30% by chance) | 45% [26, 66] (15% by chance) |" in card


def test_a_card_without_an_audit_says_so_and_claims_nothing():
    card = render_card(MANIFEST)
    assert "It has not been audited." in card
    assert card.count("Nobody has looked.") == 2
    assert "It is for such cards only." in card
    assert "0.9" not in card
