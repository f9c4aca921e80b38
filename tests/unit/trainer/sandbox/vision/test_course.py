"""What the local vision models learn from."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from trainer.sandbox.vision.card_model import CARD_CHOICES
from trainer.sandbox.vision.course import card_course


@pytest.fixture
def faces(tmp_path):
    lines = ["file,age_group,gender,race"]
    for number in range(24):
        name = f"{'val' if number % 3 == 0 else 'train'}/{number}.png"
        (tmp_path / "faces" / name).parent.mkdir(parents=True, exist_ok=True)
        # The red channel says whose portrait it is.
        Image.new("RGB", (32, 32), (number * 10, 0, 250)).save(tmp_path / "faces" / name)
        lines.append(f"{name},20-29,male,White")
    (tmp_path / "faces" / "labels.csv").write_text("\n".join(lines))
    return tmp_path / "faces"


def test_the_course_shows_each_split_its_own_portraits_where_it_says(faces, monkeypatch):
    from trainer.sandbox.drawing import portraits

    opened = []
    monkeypatch.setattr(
        portraits.Portrait, "open", lambda self: opened.append(self.name) or Image.new("RGB", (9, 9))
    )
    course = card_course(faces)
    for split, found in portraits.read_portraits(faces).items():
        opened.clear()
        for seed in range(3):
            picture = course.draw(np.random.default_rng(seed), split)
            assert set(picture.places) == set(CARD_CHOICES)
            for left, top, right, bottom in picture.places.values():
                assert 0 <= left < right <= picture.image.width
                assert 0 <= top < bottom <= picture.image.height
        assert set(opened) <= {portrait.name for portrait in found}
