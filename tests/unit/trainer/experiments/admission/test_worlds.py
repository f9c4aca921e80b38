"""Simulated worlds: what is learned in them, and what uniform queries learn."""

from __future__ import annotations

from statistics import mean

import pytest

from trainer.experiments.admission.__main__ import main
from trainer.experiments.admission.worlds import draw_world, learned_shares


@pytest.mark.slow(seconds=2)
def test_informative_queries_find_more_of_the_front_than_uniform_ones():
    shares = {
        choice: [learned_shares(draw_world(world), choice, (100,), seed=world)[0] for world in range(2)]
        for choice in ("informative", "uniform")
    }
    assert mean(shares["informative"]) > max(0.9, mean(shares["uniform"]))
    assert max(map(max, shares.values())) <= 1 + 1e-9


def test_the_same_seed_gives_the_same_shares():
    first, again = (learned_shares(draw_world(1), "uniform", (20,), seed=4) for _ in range(2))
    assert first == again


def test_a_folder_without_data_is_one_error(tmp_path, capsys):
    (tmp_path / "mail").mkdir()
    (tmp_path / "mail" / "data.jsonl").write_text("{}\n")
    assert main(["--worlds", "0", "--data", str(tmp_path)]) == 2
    assert "line 1" in capsys.readouterr().out
