"""The order of attacks: an attacker does not wait for the others, and a failure ends the evaluation."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from tests.unit.trainer.evaluation.squares import Grey, quick_settings
from trainer.attackers.classifier import AttackData, Scores
from trainer.evaluation import OURS, Phase, evaluate, schedule

if TYPE_CHECKING:
    from collections.abc import Callable


class _Scripted:
    """An attacker that guesses, and does at each step what a test wants."""

    description = "guesses"

    def __init__(self, name: str, attributes: int, act: Callable[[str, int], None]) -> None:
        self.name, self._act, self._width, self._attacks = name, act, attributes, 0

    def __deepcopy__(self, memo: dict[int, Any]) -> _Scripted:
        return _Scripted(self.name, self._width, self._act)

    def prepare(self, originals: AttackData, *, generator: torch.Generator) -> Scores:
        # It knows what it was shown: a report needs somebody who reads originals.
        return Scores(*(nn.functional.one_hot(each.labels, 2).float() for each in originals[1:]))

    def attack(self, protected: AttackData, *, generator: torch.Generator) -> Scores:
        self._attacks += 1
        self._act(self.name, self._attacks)
        return self.prepare(protected, generator=generator)

    def read(self, images: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(images), self._width, 2)


def test_an_attacker_goes_on_to_the_next_level_while_another_is_still_at_the_last(
    dataset, monkeypatch
) -> None:
    monkeypatch.setattr(schedule, "usable_cpus", lambda: 2)
    second, seen = threading.Event(), []

    def act(name: str, attack: int) -> None:
        seen.append((name, attack))
        if (name, attack) == ("quick", 2):
            second.set()
        if (name, attack) == ("slow", 1):
            assert second.wait(30)

    attackers = [_Scripted(name, 2, act) for name in ("slow", "quick")]
    told: list[Phase] = []
    report = evaluate(
        Grey(), dataset, None, quick_settings(levels=(0.2, 0.5)), attackers=attackers, on_progress=told.append
    )
    assert len(report.of(OURS)) == 2
    assert sorted(seen) == [("quick", 1), ("quick", 2), ("slow", 1), ("slow", 2)]
    assert told[-1] == Phase("attack", 6, 6)


def test_an_attacker_that_fails_ends_the_evaluation_before_other_levels_and_engines(
    dataset, monkeypatch
) -> None:
    monkeypatch.setattr(schedule, "usable_cpus", lambda: 1)
    seen = []

    def act(name: str, attack: int) -> None:
        seen.append(name)
        if name == "fails":
            raise RuntimeError("out of memory")

    attackers = [_Scripted(name, 2, act) for name in ("fails", "works")]
    levels = tuple(number / 10 for number in range(8))
    with pytest.raises(RuntimeError, match="out of memory"):
        evaluate(
            Grey(),
            dataset,
            None,
            quick_settings(levels=levels, baselines={"blur": levels}),
            attackers=attackers,
        )
    assert seen.count("fails") == 1
    assert seen.count("works") <= 2
