"""Metrics as lines of JSON and, on request, as events for TensorBoard."""

from __future__ import annotations

import json
import sys
from types import ModuleType

import pytest

from langchain_vpp.errors import MissingExtraError, TrainingError
from trainer.training.run_log import MetricsLog


class RecordingWriter:
    made: list[RecordingWriter] = []  # noqa: RUF012

    def __init__(self, folder, *, purge_step):
        self.folder, self.purge_step, self.scalars, self.closed = folder, purge_step, [], False
        self.made.append(self)

    def add_scalar(self, name, value, step):
        self.scalars.append((name, value, step))

    def close(self):
        self.closed = True


@pytest.fixture
def writers(monkeypatch):
    """What the trainer writes to, in place of TensorBoard, which is optional."""
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = RecordingWriter
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(RecordingWriter, "made", [])
    return RecordingWriter.made


def test_a_resumed_log_is_continued_and_each_row_is_on_disk_at_once(tmp_path):
    with MetricsLog(tmp_path / "run", step=0, tensorboard=False) as log:
        log.write(10, {"loss": 0.5})
        assert (tmp_path / "run/metrics.jsonl").read_text() == '{"step": 10, "loss": 0.5}\n'
    with MetricsLog(tmp_path / "run", step=10, tensorboard=False) as log:
        log.write(20, {"loss": 0.25})
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [10, 20]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["metrics.jsonl"]


def test_tensorboard_gets_the_same_metrics_and_forgets_what_a_resumed_run_repeats(tmp_path, writers):
    with MetricsLog(tmp_path, step=40, tensorboard=True) as log:
        log.write(50, {"loss": 0.5, "leak": 0.1})
    (writer,) = writers
    assert writer.folder == str(tmp_path / "tensorboard")
    assert writer.purge_step == 41
    assert writer.scalars == [("loss", 0.5, 50), ("leak", 0.1, 50)]
    assert writer.closed


def test_tensorboard_that_is_not_installed_is_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(
        MissingExtraError, match=r"nothing was trained: .*pip install 'langchain-vpp\[tensorboard\]'"
    ) as caught:
        MetricsLog(tmp_path / "run", step=0, tensorboard=True)
    assert caught.value.__context__ is None
    assert not (tmp_path / "run").exists()


def test_metrics_that_can_not_be_written_are_told(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(TrainingError, match="could not be opened: Is a directory"):
        MetricsLog(tmp_path, step=0, tensorboard=False)


def test_events_can_be_read_by_tensorboard(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with MetricsLog(tmp_path, step=0, tensorboard=True) as log:
        log.write(10, {"loss": 0.5})
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(10, 0.5)]
