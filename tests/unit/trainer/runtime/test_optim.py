"""The fit loop: what it minimises, what it leaves alone, and that a resumed fit equals one that was not stopped."""

from __future__ import annotations

import copy
import threading

import pytest
import torch
from torch import nn

from trainer.runtime.cancellation import GivenUpError, thread_pools
from trainer.runtime.optim import OneCycle, ShuffledBatches, average_weights, descend, fit, update_batch_norm

pytestmark = pytest.mark.trains


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def regression():
    """A linear map with a known least-squares solution."""
    inputs = torch.randn(64, 3, generator=generator())
    return inputs, inputs @ torch.tensor([1.0, -2.0, 0.5])


def weights(value=0.0):
    return nn.Parameter(torch.full((3,), value))


def squared_error(weight, rows=slice(None)):
    inputs, targets = regression()
    return (inputs[rows] @ weight - targets[rows]).square().mean()


def test_a_linear_problem_is_solved():
    weight = weights()
    batches = ShuffledBatches(64, 16, epochs=60, generator=generator())
    descent = OneCycle([weight], steps=len(batches), learning_rate=0.1, weight_decay=0.0)
    fit(descent, lambda rows: squared_error(weight, rows), batches)
    assert weight.tolist() == pytest.approx([1.0, -2.0, 0.5], abs=1e-2)


def test_every_step_is_told_with_its_number_and_loss():
    weight, told = weights(), []
    descent = OneCycle([weight], steps=3, learning_rate=0.1)
    fit(
        descent,
        lambda scale: scale * squared_error(weight),
        [1.0, 2.0, 0.0],
        on_step=lambda step, loss: told.append((step, loss)),
    )
    assert [step for step, _ in told] == [1, 2, 3]
    assert float(told[2][1]) == 0
    assert not any(loss.requires_grad for _, loss in told)


def test_a_resumed_fit_equals_one_that_was_not_stopped():
    whole, stopped = weights(), weights()
    descent = OneCycle([whole], steps=8, learning_rate=0.1)
    fit(descent, lambda _: squared_error(whole), range(8))
    first = OneCycle([stopped], steps=8, learning_rate=0.1)
    fit(first, lambda _: squared_error(stopped), range(3))
    state = copy.deepcopy(first.state_dict())
    second = OneCycle([stopped], steps=8, learning_rate=0.9)
    second.load_state_dict(state | {"step": 3})
    assert second.done == 3
    fit(second, lambda _: squared_error(stopped), range(3, 8))
    assert torch.equal(whole, stopped)


@pytest.mark.parametrize("warm_up", [0.1, 0.15, 0.2])
def test_a_fit_of_any_length_ends(warm_up):
    for steps in range(1, 22):
        weight = weights()
        descent = OneCycle([weight], steps=steps, learning_rate=0.1, warm_up=warm_up)
        fit(descent, lambda _: squared_error(weight), range(steps))  # noqa: B023  called at once
        assert descent.done == steps


def test_the_rate_rises_then_falls_to_almost_nothing():
    weight, moves = weights(100.0), []
    descent = OneCycle([weight], steps=100, learning_rate=0.1, weight_decay=0.0)
    for _ in range(100):
        before = weight.detach().clone()
        descent.step(weight.sum())
        moves.append(float((weight.detach() - before).abs().max()))
    peak = max(range(100), key=moves.__getitem__)
    assert 15 <= peak <= 25
    assert moves[peak] == pytest.approx(0.1, rel=0.2)
    assert moves[0] < 0.1 * moves[peak]
    assert moves[-1] < 1e-3 * moves[peak]


def test_clipping_bounds_the_gradient_of_all_weights_together():
    parts = [weights(1.0), weights(-1.0)]
    optimizer = torch.optim.SGD(parts, lr=1.0)
    before = [each.detach().clone() for each in parts]
    descend(optimizer, 100 * (parts[0].sum() - parts[1].sum()), clip=0.5)
    moved = torch.cat([new.detach() - old for new, old in zip(parts, before, strict=True)])
    assert float(moved.norm()) == pytest.approx(0.5, rel=1e-3)
    descend(optimizer, parts[0].sum())
    assert float(parts[0].grad.norm()) == pytest.approx(3**0.5)


def test_every_epoch_shows_each_row_once_in_an_order_of_its_own():
    batches = ShuffledBatches(10, 4, epochs=3, generator=generator(), drop_last=False)
    rows = list(batches)
    assert len(rows) == len(batches) == 9
    assert [len(each) for each in rows[:3]] == [4, 4, 2]
    epochs = [torch.cat(rows[start : start + 3]).tolist() for start in (0, 3, 6)]
    assert [sorted(each) for each in epochs] == [list(range(10))] * 3
    assert len({tuple(each) for each in epochs}) == 3


def test_an_incomplete_last_batch_can_be_left_out_and_few_rows_are_one_batch():
    batches = ShuffledBatches(10, 4, epochs=2, generator=generator())
    assert [len(each) for each in batches] == [4] * len(batches) == [4] * 4
    few = ShuffledBatches(3, 4, epochs=2, generator=generator())
    assert [len(each) for each in few] == [3] * len(few) == [3] * 2


def test_an_order_is_drawn_when_its_epoch_begins():
    shared = generator()
    batches = iter(ShuffledBatches(4, 4, epochs=2, generator=shared))
    first = next(batches)
    torch.rand(5, generator=shared)
    second = next(batches)
    again = generator()
    assert torch.equal(first, torch.randperm(4, generator=again))
    torch.rand(5, generator=again)
    assert torch.equal(second, torch.randperm(4, generator=again))


def test_averaged_weights_forget_their_first_steps_soon():
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 8.0)
    mean = average_weights(network, 0.5)
    expected = 8.0
    for count, value in enumerate([1.0, 3.0, -2.0, 4.0] * 5, start=1):
        nn.init.constant_(network.weight, value)
        mean.update_parameters(network)
        decay = min(0.5, count / (count + 9))
        expected = decay * expected + (1 - decay) * value
        assert float(mean.module.weight.detach()) == pytest.approx(expected, rel=1e-5)
    assert float(network.weight.detach()) == 4.0


def test_an_average_goes_on_from_its_state():
    network = nn.Linear(2, 1)
    means = [average_weights(network, 0.9) for _ in range(2)]
    for step in range(6):
        nn.init.constant_(network.weight, step)
        means[0].update_parameters(network)
        if step == 2:
            means[1].load_state_dict(copy.deepcopy(means[0].state_dict()))
        elif step > 2:
            means[1].update_parameters(network)
    assert torch.equal(means[0].module.weight, means[1].module.weight)


def test_batch_norm_statistics_are_those_of_all_images_under_the_final_weights():
    network = nn.Sequential(nn.BatchNorm2d(3, momentum=0.3))
    network(torch.randn(16, 3, 4, 4) + 100)
    images = torch.randint(256, (70, 3, 4, 4), generator=generator(), dtype=torch.uint8)
    network.eval()
    update_batch_norm(network, images, lambda part: part.float() / 255)
    seen = images[:64].float() / 255  # two whole batches of 32
    assert torch.allclose(network[0].running_mean, seen.mean(dim=(0, 2, 3)), atol=1e-5)
    assert not network.training
    assert network[0].momentum == 0.3


def test_a_fit_that_nobody_waits_for_ends():
    weight = weights()
    descent = OneCycle([weight], steps=1000, learning_rate=0.1)
    begun, ended = threading.Event(), []

    def endless():
        try:
            fit(
                descent,
                lambda _: squared_error(weight),
                iter(int, 1),
                on_step=lambda _, __: begun.set(),
            )
        except GivenUpError:
            ended.append(True)

    def give_up():
        with thread_pools(1) as (pool,):
            pool.submit(endless)
            begun.wait(10)
            raise KeyError

    with pytest.raises(KeyError):
        give_up()
    assert ended == [True]
