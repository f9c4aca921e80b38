"""A state is written whole or not at all."""

from __future__ import annotations

import pytest
import torch

from trainer.runtime.checkpoint import save_state


def test_a_checkpoint_is_read_back_and_its_folder_is_made(tmp_path):
    path = tmp_path / "run" / "checkpoint.pt"
    save_state({"step": 3, "weights": torch.arange(3)}, path)
    state = torch.load(path, weights_only=True)
    assert state["step"] == 3
    assert state["weights"].tolist() == [0, 1, 2]
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    save_state({"step": 1}, path)

    def fail_half_way(_, temporary):
        temporary.write_bytes(b"half")
        raise OSError

    monkeypatch.setattr(torch, "save", fail_half_way)
    with pytest.raises(OSError):  # noqa: PT011  the cause does not matter
        save_state({"step": 2}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}
