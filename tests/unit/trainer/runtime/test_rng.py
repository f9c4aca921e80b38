"""The weights of layers depend on their seed alone, however many threads make some."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn

from trainer.runtime.rng import keyed_generator, reproducible_layers


def _draw(number: int) -> torch.Tensor:
    with reproducible_layers(keyed_generator(0, number)):
        return torch.cat([nn.Linear(64, 64).weight.detach() for _ in range(20)])


def test_layers_made_in_many_threads_are_those_made_one_by_one() -> None:
    alone = [_draw(number) for number in range(16)]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(_draw, range(16)))
    assert all(map(torch.equal, alone, together))
    assert not torch.equal(alone[0], alone[1])


def test_making_layers_leaves_the_global_generator_as_it_was() -> None:
    before = torch.get_rng_state()
    _draw(0)
    assert torch.equal(torch.get_rng_state(), before)
