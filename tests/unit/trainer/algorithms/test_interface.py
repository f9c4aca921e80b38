import pytest
import torch

from trainer.algorithms.interface import NoQueries, answer_loss, mean_reference_loss


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_an_answers_loss_has_the_students_units():
    targets = torch.tensor([[0.25, 0.25, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    losses = answer_loss(targets, torch.zeros(3, dtype=torch.long), torch.tensor([4, 2, 2]), floor=2**-5)
    assert losses.tolist() == pytest.approx([1, 0, 5])


def test_the_baseline_asks_nothing_and_pulls_nowhere():
    baseline, images = NoQueries(), torch.rand(3, 3, 8, 8)
    references = torch.zeros(3, 2, dtype=torch.long)
    assert not len(baseline.propose(images, references, 50, generator=generator()).rows)
    assert baseline.loss(images, references, generator=generator()).tolist() == [0, 0, 0]
    assert baseline.posteriors(images) is None
    assert baseline.min_queries == 0


def test_a_predicted_answers_loss_is_averaged_over_the_questions_that_are_asked():
    log_posterior = torch.tensor([[[0.5, 0.5], [0.25, 0.75]], [[1.0, 1e-9], [0.5, 0.5]]]).log()
    references = torch.tensor([[0, 1], [-1, -1]])
    losses = mean_reference_loss(log_posterior, references, torch.tensor([2, 2]))
    assert losses.tolist() == pytest.approx([(1 + 0.4150) / 2, 0], abs=1e-4)
