import pytest
import torch

from trainer.algorithms.query_choice import choose_queries, query_criticality


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_answer_that_is_about_to_flip_is_the_critical_one():
    sure, torn = query_criticality(torch.tensor([[0.98, 0.01, 0.01], [0.5, 0.49, 0.01]]))
    assert float(sure) == pytest.approx(0.03)
    assert float(torn) == pytest.approx(0.99)


def test_critical_pairs_are_asked_more_often_but_not_alone():
    criticality = torch.tensor([0.0, 0.0, 0.0, 0.8])
    chosen = torch.cat(
        [choose_queries(criticality, torch.arange(4), 2, generator=generator(draw)) for draw in range(200)]
    )
    shares = torch.bincount(chosen, minlength=4) / 200
    assert float(shares[3]) > 0.9
    assert float(shares[:3].min()) > 0.2
    everything = choose_queries(criticality, torch.arange(4), 4, generator=generator())
    assert everything.tolist() == [0, 1, 2, 3]


def test_an_image_that_is_asked_about_is_asked_whole_requests():
    images = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2])
    criticality = torch.tensor([0.9, 0.0, 0.8, 0.0, 0.0, 0.7, 0.6, 0.0])
    for draw in range(50):
        chosen = choose_queries(criticality, images, 5, questions_per_call=2, generator=generator(draw))
        counts = torch.bincount(images[chosen], minlength=3)
        assert len(chosen) in {4, 5}
        # An image gives requests of 2 and, if it has three questions, another of 1.
        assert all(count in {0, 1, 2, 3} for count in counts.tolist())
        assert (counts == 1).sum() <= 1
    assert not len(choose_queries(criticality, images, 1, questions_per_call=3, generator=generator()))
    alone = choose_queries(criticality, images, 3, questions_per_call=1, generator=generator(7))
    blurred = torch.rand(8, generator=generator(7)) + criticality
    assert alone.tolist() == blurred.topk(3).indices.sort().values.tolist()
