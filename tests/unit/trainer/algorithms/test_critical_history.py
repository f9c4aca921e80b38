import pytest
import torch

from trainer.algorithms.critical_history import CriticalHistory, record_criticality
from trainer.algorithms.interface import Records


def records(values):
    count = len(values)
    images = torch.tensor(values, dtype=torch.uint8)[:, None, None, None].expand(count, 3, 8, 8).contiguous()
    return Records(images, torch.arange(count) % 2, torch.eye(2)[torch.arange(count) % 2])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_replay_prefers_what_the_student_gets_wrong():
    history = CriticalHistory(10, sharpness=1.0, uniform=0.2)
    history.add(records([0, 1, 2, 3]))
    history.update(torch.arange(4), torch.tensor([0.0, 0.0, 0.0, 5.0]))
    positions, drawn, _ = history.sample(400, generator=generator())
    assert (positions == 3).float().mean() > 0.7
    assert torch.equal(drawn.images[:, 0, 0, 0].long(), positions)


def test_importance_weights_make_the_replayed_mean_unbiased():
    history = CriticalHistory(10, sharpness=1.0, uniform=0.3)
    history.add(records(range(8)))
    losses = torch.linspace(0, 3, 8)
    history.update(torch.arange(8), losses)
    positions, _, weights = history.sample(40_000, generator=generator())
    assert float((weights * losses[positions]).mean()) == pytest.approx(float(losses.mean()), rel=0.03)
    assert float(weights.mean()) == pytest.approx(1.0, rel=0.03)


def test_sharpness_zero_replays_uniformly():
    history = CriticalHistory(10, sharpness=0.0)
    history.add(records([0, 1]))
    history.update(torch.arange(2), torch.tensor([0.0, 9.0]))
    _, _, weights = history.sample(50, generator=generator())
    assert torch.allclose(weights, torch.ones(50))


def test_a_new_record_is_as_critical_as_the_most_critical_one():
    history = CriticalHistory(10, sharpness=1.0, uniform=0.01)
    history.add(records([0, 1]))
    history.update(torch.arange(2), torch.tensor([0.0, 4.0]))
    history.add(records([2]))
    positions, _, _ = history.sample(300, generator=generator())
    assert 0.4 < float((positions == 2).float().mean()) < 0.6


def test_the_least_critical_record_makes_room():
    history = CriticalHistory(3)
    history.add(records([10, 11, 12]))
    history.update(torch.arange(3), torch.tensor([2.0, 0.1, 1.0]))
    history.add(records([13]))
    _, drawn, _ = history.sample(200, generator=generator())
    assert set(drawn.images[:, 0, 0, 0].tolist()) == {10, 12, 13}


def test_of_equally_critical_records_the_oldest_makes_room():
    history = CriticalHistory(3)
    for value in range(10, 17):
        history.add(records([value]))
    _, drawn, _ = history.sample(200, generator=generator())
    assert set(drawn.images[:, 0, 0, 0].tolist()) == {14, 15, 16}


def test_uniform_replay_ignores_criticality_and_forgets_the_oldest():
    history = CriticalHistory(3, sharpness=1.0, uniform=0.1, replay="uniform")
    history.add(records([10, 11, 12]))
    history.update(torch.arange(3), torch.tensor([9.0, 0.0, 0.0]))
    history.add(records([13]))
    _, drawn, weights = history.sample(600, generator=generator())
    values, counts = drawn.images[:, 0, 0, 0].unique(return_counts=True)
    assert values.tolist() == [11, 12, 13]
    assert int(counts.min()) > 150
    assert torch.allclose(weights, torch.ones(600))


def test_more_records_at_once_than_the_memory_holds_leave_the_newest():
    history = CriticalHistory(3)
    history.add(records([1, 2]))
    history.add(records(range(10, 20)))
    _, drawn, _ = history.sample(300, generator=generator())
    assert len(history) == 3
    assert set(drawn.images[:, 0, 0, 0].tolist()) == {17, 18, 19}


@pytest.mark.parametrize("options", [{"capacity": 0}, {"uniform": 0.0}, {"sharpness": -1.0}])
def test_a_history_refuses_settings_that_make_no_sense(options):
    with pytest.raises(ValueError, match="must be"):
        CriticalHistory(**{"capacity": 3} | options)


def test_a_restored_history_replays_like_the_one_saved():
    history = CriticalHistory(3)
    everything = records([10, 11, 12, 13, 14])
    history.add(Records(*(column[:3] for column in everything)))
    history.update(torch.arange(3), torch.tensor([2.0, 0.1, 1.0]))
    history.add(Records(*(column[3:] for column in everything)))
    restored = CriticalHistory(3)
    restored.load_state_dict(history.state_dict(), everything)
    for saved, loaded in zip(
        history.sample(50, generator=generator(1)), restored.sample(50, generator=generator(1)), strict=True
    ):
        for left, right in zip(saved, loaded, strict=True) if isinstance(saved, tuple) else [(saved, loaded)]:
            assert torch.equal(left, right)


def test_a_history_is_not_restored_from_another_number_of_records():
    history = CriticalHistory(3)
    history.add(records([1, 2]))
    with pytest.raises(ValueError, match="2 records were added, 1 given"):
        CriticalHistory(3).load_state_dict(history.state_dict(), records([1]))


def test_an_empty_history_cannot_be_replayed():
    with pytest.raises(ValueError, match="empty"):
        CriticalHistory(3).sample(1, generator=generator())


def test_a_record_is_critical_where_the_student_is_wrong():
    infinite = -float("inf")
    logits = torch.tensor([[8.0, 0.0, infinite], [8.0, 0.0, infinite], [0.0, 0.0, infinite]])
    targets = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]])
    right, wrong, open_ = record_criticality(logits, targets).tolist()
    assert right == pytest.approx(0, abs=1e-3)
    assert wrong == pytest.approx(8, abs=1e-3)
    assert open_ == pytest.approx(0, abs=1e-6)  # an uncertain answer that is reproduced is no error


def test_without_correction_critical_records_weigh_more():
    history = CriticalHistory(10, sharpness=1.0, uniform=0.2, replay="critical-uncorrected")
    history.add(records([0, 1, 2, 3]))
    history.update(torch.arange(4), torch.tensor([0.0, 0.0, 0.0, 5.0]))
    positions, _, weights = history.sample(400, generator=generator())
    assert (positions == 3).float().mean() > 0.7
    assert torch.equal(weights, torch.ones(400))


def test_recent_replay_draws_half_from_the_newest_and_drops_the_oldest():
    history = CriticalHistory(500, replay="recent")
    for _ in range(3):
        history.add(records([0] * 200))
    positions, _, weights = history.sample(2000, generator=generator())
    newest = history.state_dict()["order"][positions] >= 400
    assert 0.65 < float(newest.float().mean()) < 0.75  # half, and two fifths of the other half
    assert torch.equal(weights, torch.ones(2000))
    assert len(history) == 500
