"""The order of attacks: an attacker does not wait for the others, and a failure ends the evaluation."""

from __future__ import annotations

import threading

import pytest

from tests.unit.trainer.evaluation.squares import Grey, ScriptedAttacker, quick_settings
from trainer.evaluation import OURS, Phase, evaluate, schedule


@pytest.mark.slow(seconds=1)
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

    attackers = [ScriptedAttacker(name, 2, act) for name in ("slow", "quick")]
    told: list[Phase] = []
    report = evaluate(
        Grey(), dataset, None, quick_settings(levels=(0.2, 0.5)), attackers=attackers, on_progress=told.append
    )
    assert len(report.of(OURS)) == 2
    assert sorted(seen) == [("quick", 1), ("quick", 2), ("slow", 1), ("slow", 2)]
    assert told[-1] == Phase("attack", 6, 6)


@pytest.mark.slow(seconds=1)
def test_an_attacker_that_fails_ends_the_evaluation_before_other_levels_and_engines(
    dataset, monkeypatch
) -> None:
    monkeypatch.setattr(schedule, "usable_cpus", lambda: 1)
    seen = []

    def act(name: str, attack: int) -> None:
        seen.append(name)
        if name == "fails":
            raise RuntimeError("out of memory")

    attackers = [ScriptedAttacker(name, 2, act) for name in ("fails", "works")]
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
