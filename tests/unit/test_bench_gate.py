"""The gate of the benchmark of pictures: green on an equal run, red on a worse one and on one that measured less."""

from __future__ import annotations

import copy
import json

import pytest

from tests.bench import bench_images
from tests.bench.measuring import regressions

BASELINE = json.loads(bench_images.BASELINE.read_bytes())


def report_of(ratios: dict[str, float]) -> dict[str, object]:
    """A report in which these ratios were measured."""
    report: dict[str, object] = {key: BASELINE[key] for key in ("null", "engine")}
    by_size: dict[str, dict[str, float]] = {}
    memory: dict[str, float] = {}
    for name, ratio in ratios.items():
        words = name.split()
        if words[0] == "cold":
            report["cold_start"] = {"ratio_to_core": ratio}
        elif words[0] == "peak":
            memory[words[3]] = ratio
        else:
            by_size.setdefault(words[0], {})[words[1]] = ratio
    return report | {"ratio_of_the_best": by_size, "peak_memory": {"ratio_to_null": memory}}


def test_an_equal_run_is_green() -> None:
    assert bench_images.gated(report_of(BASELINE["ratios"])) == BASELINE["ratios"]
    assert bench_images.compared(report_of(BASELINE["ratios"]), BASELINE) == []


def test_a_faster_run_and_one_within_the_tolerance_are_green() -> None:
    assert BASELINE["tolerance"] > 1.05
    for factor in (0.1, 1.05):
        ratios = {name: ratio * factor for name, ratio in BASELINE["ratios"].items()}
        assert bench_images.compared(report_of(ratios), BASELINE) == []


@pytest.mark.parametrize("name", BASELINE["ratios"])
def test_one_ratio_that_is_worse_turns_it_red(name: str) -> None:
    worse = BASELINE["ratios"] | {name: BASELINE["ratios"][name] * BASELINE["tolerance"] * 1.01}
    (line,) = bench_images.compared(report_of(worse), BASELINE)
    assert line.startswith(f"{name} is ")


@pytest.mark.parametrize("name", BASELINE["ratios"])
def test_one_ratio_that_is_missing_turns_it_red(name: str) -> None:
    fewer = {other: ratio for other, ratio in BASELINE["ratios"].items() if other != name}
    assert bench_images.compared(report_of(fewer), BASELINE)[0].startswith(f"{name} was not measured")


def test_the_baseline_holds_what_is_promised() -> None:
    sizes = {f"{width}x{height}" for width, height in bench_images.SIZES}
    assert {name.split()[0] for name in BASELINE["ratios"] if "/ null" in name and name[0].isdigit()} == sizes
    assert any(name.startswith("cold start") for name in BASELINE["ratios"])
    assert any(name.startswith("peak memory") for name in BASELINE["ratios"])


@pytest.mark.parametrize("key", ["null", "engine"])
def test_a_run_of_something_else_is_not_compared(key: str) -> None:
    other = copy.deepcopy(report_of(BASELINE["ratios"])) | {key: "something else"}
    assert "not comparable" in bench_images.compared(other, BASELINE)[0]


def test_what_is_no_number_is_worse_and_a_gate_that_forgives_everything_is_refused() -> None:
    assert regressions({"a": float("nan")}, {"a": 1.0}, 1.2)
    assert regressions({"a": 1.19}, {"a": 1.0}, 1.2) == []
    assert regressions({"a": 1.21}, {"a": 1.0}, 1.2)
    with pytest.raises(ValueError, match="at least 1"):
        regressions({"a": 1.0}, {"a": 1.0}, 0.9)
