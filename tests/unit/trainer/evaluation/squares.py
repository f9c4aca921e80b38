"""Pictures of coloured squares, whose place and tone are private, and a chat model that looks at them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from tests.chat_models import LookingModel
from trainer.attackers.classifier import AttackData, Scores
from trainer.data.dataset import Dataset
from trainer.data.format import Example, Task
from trainer.evaluation import EvaluationSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIDE = 32
COLOURS = {"red": (220, 40, 40), "blue": (40, 40, 220), "green": (30, 200, 40)}
PLACES = ("left", "right")
TONES = {"light": 225, "dark": 30}


def question(kind: str) -> str:
    return f"What {kind} is it?"


TASK = question("colour")
SHIRT = question("place")


def _draw(path, colour: str, place: str, tone: str, generator: np.random.Generator) -> None:
    """A square of the task's colour on top; below a dot whose place and tone are private."""
    pixels = generator.integers(110, 140, (SIDE, SIDE, 3), dtype=np.uint8)
    pixels[2:14, 4:28] = COLOURS[colour]
    left = 3 if place == "left" else 19
    pixels[18:28, left : left + 10] = TONES[tone]
    Image.fromarray(pixels).save(path)


def draw_squares(folder: Path) -> Dataset:
    """256, 48 and 100 pictures of the three splits."""
    generator = np.random.default_rng(0)
    examples = []
    for split, count in (("train", 256), ("val", 48), ("test", 100)):
        for number in range(count):
            colour, place, tone = (str(generator.choice(list(each))) for each in (COLOURS, PLACES, TONES))
            name = f"{split}{number}.png"
            _draw(folder / name, colour, place, tone, generator)
            task = Task(question=TASK, answer=colour, choices=tuple(COLOURS))
            examples.append(
                Example(image=name, split=split, tasks=(task,), private={"place": place, "tone": tone})
            )
    return Dataset(folder, tuple(examples), "digest")


class Eyes(LookingModel):
    """Answers by looking at the pixels."""

    refuses: bool = False

    def reply(self, text, pixels):
        if SHIRT in text:
            change = np.abs(pixels[20:26] - 125).mean(axis=(0, 2))
            return "I won't say." if self.refuses else PLACES[int(change[20:].mean() > change[:12].mean())]
        mean = pixels[4:12, 8:24].mean(axis=(0, 1))
        distance = {name: np.abs(mean - colour).sum() for name, colour in COLOURS.items()}
        return min(distance, key=distance.__getitem__)


class ScriptedAttacker:
    """An attacker that guesses, and does at each step what a test wants."""

    description = "guesses"

    def __init__(
        self, name: str = "knows", attributes: int = 2, act: Callable[[str, int], None] = lambda *_: None
    ) -> None:
        self.name, self._act, self._width, self._attacks = name, act, attributes, 0

    def __deepcopy__(self, memo: dict[int, Any]) -> ScriptedAttacker:
        return ScriptedAttacker(self.name, self._width, self._act)

    def prepare(self, originals: AttackData, *, generator: torch.Generator) -> Scores:
        # It knows what it was shown: a report needs somebody who reads originals.
        return Scores(*(nn.functional.one_hot(each.labels, 2).float() for each in originals[1:]))

    def attack(self, protected: AttackData, *, generator: torch.Generator) -> Scores:
        self._attacks += 1
        self._act(self.name, self._attacks)
        return self.prepare(protected, generator=generator)

    def read(self, images: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(images), self._width, 2)


class Grey:
    def protect(self, image: Image.Image, level: float) -> Image.Image:
        return Image.new("RGB", image.size, (128, 128, 128))


def quick_settings(**changes: Any) -> EvaluationSettings:
    return EvaluationSettings(
        **{
            "levels": (0.5,),
            "baselines": {},
            "resolution": SIDE,
            "queries_per_point": 60,
            "classifiers": ("small",),
            "cold": (),
            **changes,
        }
    )
