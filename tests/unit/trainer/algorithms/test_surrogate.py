import math

import pytest
import torch

from trainer.algorithms.critical_history import CriticalHistory
from trainer.algorithms.interface import (
    AnswerSpace,
    LabelledImages,
    Records,
    no_probes,
)
from trainer.algorithms.surrogate import DistilledStudent, LabelOnlyStudent, StudentSettings
from trainer.algorithms.vqa_network import VQANetwork

SPACE = AnswerSpace(
    ("bright?", "red?"), ("no", "yes", "unused"), torch.tensor([[True, True, False], [True, True, False]])
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def drawings(count, seed=0):
    """Plain images that are bright or dark and red or blue, with the answers to both questions."""
    bright = torch.randint(2, (count,), generator=generator(seed))
    red = torch.randint(2, (count,), generator=generator(seed + 1))
    images = torch.full((count, 3, 16, 16), 60)
    images[bright == 1] += 90
    images[torch.arange(count), torch.where(red == 1, 0, 2)] += 60
    return LabelledImages(images.to(torch.uint8), torch.stack([bright, red], dim=1))


def student(labelled, **options):
    torch.manual_seed(0)
    return DistilledStudent(SPACE, labelled, CriticalHistory(500), StudentSettings(**options))


def fitted_on_a_liar():
    """A student of a chat model that always says the opposite of the reference answer about "red?"."""
    labelled = drawings(64)
    subject = student(labelled, steps=40, learning_rate=3e-3)
    lies = 1 - labelled.references[:, 1]
    targets = torch.nn.functional.one_hot(lies, 3).float()
    records = Records(labelled.images, torch.ones(64, dtype=torch.long), targets)
    subject.observe(records, no_probes(labelled.images, labelled.references))
    return labelled, subject


@pytest.mark.trains
def test_the_student_learns_the_chat_models_answers_not_the_references():
    labelled, subject = fitted_on_a_liar()
    for round_ in range(4):
        metrics = subject.fit(generator=generator(round_))
    agreement = (
        subject.posteriors(labelled.images.float() / 255)[:, 1].argmax(-1) != labelled.references[:, 1]
    ).float()
    assert float(agreement.mean()) > 0.8
    assert metrics["student_loss"] < math.log(2)


def test_without_queries_or_labels_fitting_does_nothing():
    images = drawings(8)
    subject = student(LabelledImages(images.images, torch.full_like(images.references, -1)))
    before = [parameter.clone() for parameter in subject.network.parameters()]
    assert subject.fit(generator=generator()) == {}
    assert all(torch.equal(*pair) for pair in zip(before, subject.network.parameters(), strict=True))


@pytest.mark.trains
def test_a_student_of_labels_alone_asks_nothing_and_learns_with_every_step():
    labelled = drawings(64)
    torch.manual_seed(0)
    subject = LabelOnlyStudent(SPACE, labelled, StudentSettings(steps=40, learning_rate=3e-3))
    images = labelled.images.float() / 255
    assert not len(subject.propose(images, labelled.references, 10, generator=generator()).rows)
    for round_ in range(3):
        subject.fit(generator=generator(round_))
    right = (subject.posteriors(images).argmax(-1) == labelled.references).float()
    assert float(right.mean()) > 0.9


@pytest.mark.trains
def test_pretraining_reads_the_labels_and_its_loss_points_to_them():
    labelled = drawings(64)
    subject = student(labelled)
    subject.pretrain(80, learning_rate=4e-3, generator=generator(), progress=lambda: None)
    images = labelled.images.float() / 255
    right = subject.loss(images, labelled.references, generator=generator()).detach()
    wrong = subject.loss(images, 1 - labelled.references, generator=generator()).detach()
    assert float(right.mean()) < 0.3
    assert float(wrong.mean()) > 1


@pytest.mark.trains
def test_the_utility_gradient_improves_an_image_when_it_is_followed():
    labelled = drawings(64)
    subject = student(labelled, noise=0.0)
    subject.pretrain(80, learning_rate=4e-3, generator=generator(), progress=lambda: None)
    image = torch.full((1, 3, 16, 16), 0.45, requires_grad=True)
    reference = torch.tensor([[1, 1]])
    for step in range(30):
        loss = subject.loss(image, reference, generator=generator(step)).sum()
        (gradient,) = torch.autograd.grad(loss, image)
        image = (image - 0.05 * gradient.sign()).clamp(0, 1).detach().requires_grad_()
    assert subject.posteriors(image.detach()).argmax(-1).tolist() == [[1, 1]]


def test_the_student_proposes_the_images_themselves_and_no_more_than_the_quota():
    labelled = drawings(8)
    references = labelled.references.clone()
    references[3] = -1
    images = labelled.images.float() / 255
    probes = student(labelled).propose(images, references, 9, generator=generator())
    assert torch.equal(probes.images, images[probes.rows])
    assert len(set(zip(probes.rows.tolist(), probes.questions.tolist(), strict=True))) == 9
    assert 3 not in probes.rows
    everything = student(labelled).propose(images, references, 99, generator=generator())
    assert len(everything.rows) == 14
    assert not len(student(labelled).propose(images, references, 0, generator=generator()).rows)


@pytest.mark.parametrize(
    ("query_choice", "least", "most"),
    [("critical", 0.9, 1), ("uniform", 0.2, 0.5)],
)
def test_the_student_asks_where_its_answer_may_flip(query_choice, least, most, monkeypatch):
    def by_brightness(images):
        yes = ((images.mean(dim=(1, 2, 3)) - 0.4) * 50 + 0.5).clamp(0, 1)
        return torch.stack([1 - yes, yes, 0 * yes], dim=-1)[:, None].expand(-1, 2, -1)

    subject = student(drawings(8), query_choice=query_choice)
    monkeypatch.setattr(subject, "posteriors", by_brightness)
    images = torch.tensor([0.8, 0.1, 0.4])[:, None, None, None].expand(3, 3, 16, 16)
    references = torch.tensor([[1, -1]] * 3)
    asked = [
        int(subject.propose(images, references, 1, generator=generator(draw)).rows[0]) for draw in range(90)
    ]
    assert least <= asked.count(2) / 90 <= most


def test_a_student_whose_pictures_were_not_stored_goes_on_with_an_empty_history():
    labelled, subject = fitted_on_a_liar()
    restored = student(labelled)
    restored.load_state_dict(subject.state_dict(), lambda: None)
    assert len(restored.history) == 0
    images = labelled.images.float() / 255
    assert torch.equal(restored.posteriors(images), subject.posteriors(images))


def test_questions_that_are_not_asked_cost_nothing():
    subject = student(drawings(8))
    images = torch.rand(3, 3, 16, 16)
    none = subject.loss(images, torch.full((3, 2), -1), generator=generator())
    assert none.tolist() == [0, 0, 0]


def test_answers_that_a_question_cannot_have_get_no_probability():
    posteriors = student(drawings(8)).posteriors(torch.rand(2, 3, 16, 16))
    assert float(posteriors[..., 2].max()) == 0
    assert torch.allclose(posteriors.sum(-1), torch.ones(2, 2))


@pytest.mark.trains
def test_until_the_first_answer_the_student_goes_on_learning_as_one_of_the_labels_alone():
    labelled = drawings(32)
    torch.manual_seed(0)
    alone = LabelOnlyStudent(SPACE, labelled, StudentSettings())
    both = (alone, student(labelled, ladder=True))
    for each in both:
        assert each.fit(generator=generator(1)).keys() == {"student_loss"}
    weights = [each.network.state_dict().values() for each in both]
    assert all(torch.equal(*pair) for pair in zip(*weights, strict=True))


# -- queries by disagreement, anchor, start --------------------------------------------------------------------------


def disagreeing(labelled):
    """A student that asks by disagreement, and whose answers have turned around since it was pretrained."""
    subject = student(labelled, query_choice="disagreement")
    with torch.no_grad():
        subject.network.heads.weight *= 200  # sure of its answers
    subject.pretrain(0, learning_rate=1e-3, generator=generator(), progress=lambda: None)
    with torch.no_grad():
        subject.network.choose.weight[1] *= -1  # what it answers to "red?", and nothing else
    return subject


def test_queries_go_where_answers_have_changed_the_student_and_a_share_anywhere():
    labelled = drawings(64)
    images = labelled.images.float() / 255
    subject = disagreeing(labelled)
    subject.network.eval()
    chosen = [
        subject.propose(images, labelled.references, 20, generator=generator(seed)).questions
        for seed in range(10)
    ]
    share = float(torch.cat(chosen).float().mean())
    assert 0.5 < share < 1


def test_the_state_holds_the_student_before_its_first_answer():
    labelled = drawings(8)
    subject = disagreeing(labelled)
    state = subject.state_dict()
    again = student(labelled, query_choice="disagreement")
    again.load_state_dict(state, lambda: None)
    images = labelled.images.float() / 255
    both = [each.propose(images, labelled.references, 5, generator=generator()) for each in (subject, again)]
    assert all(torch.equal(*pair) for pair in zip(*both, strict=True))


@pytest.mark.trains
def test_without_any_label_the_student_learns_from_answers_alone():
    images = drawings(64)
    nothing = LabelledImages(images.images, torch.full_like(images.references, -1))
    subject = student(nothing, steps=40, learning_rate=3e-3)
    subject.pretrain(5, learning_rate=1e-3, generator=generator(), progress=lambda: None)
    targets = torch.nn.functional.one_hot(images.references[:, 0], 3).float()
    subject.observe(
        Records(images.images, torch.zeros(64, dtype=torch.long), targets),
        no_probes(images.images, images.references),
    )
    for round_ in range(3):
        metrics = subject.fit(generator=generator(round_))
    assert math.isfinite(metrics["student_loss"])
    right = subject.posteriors(images.images.float() / 255)[:, 0].argmax(-1) == images.references[:, 0]
    assert float(right.float().mean()) > 0.8


@pytest.mark.trains
def test_images_without_a_known_reference_are_not_drawn_as_an_anchor():
    labelled = drawings(16)
    references = torch.full_like(labelled.references, -1)
    references[3] = 1
    subject = student(LabelledImages(labelled.images, references))
    subject.pretrain(2, learning_rate=1e-3, generator=generator(), progress=lambda: None)
    assert all(parameter.isfinite().all() for parameter in subject.network.parameters())


def test_a_student_can_begin_with_the_eyes_of_another_network():
    subject = student(drawings(8))
    other = VQANetwork(torch.eye(3), 4, grid=2, conditioned=True)
    subject.begin_with(other)
    mine, theirs = subject.network.trunk.state_dict(), other.trunk.state_dict()
    assert torch.equal(mine["0.0.weight"], theirs["0.0.weight"][:, :12])
    assert torch.equal(mine["4.0.weight"], theirs["4.0.weight"])
