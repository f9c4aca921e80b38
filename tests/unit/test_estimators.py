import math

import torch

from trainer.algorithms.critical_history import CriticalHistory, Records
from trainer.algorithms.estimators import AnswerSpace, DistilledStudent, LabelledImages, augment
from trainer.algorithms.reader import Reader, question_vectors

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
    return DistilledStudent(SPACE, labelled, CriticalHistory(500), **options)


def fitted_on_a_liar():
    """A student of a chat model that always says the opposite of the reference answer about "red?"."""
    labelled = drawings(64)
    subject = student(labelled, steps=40, learning_rate=3e-3)
    lies = 1 - labelled.references[:, 1]
    targets = torch.nn.functional.one_hot(lies, 3).float()
    subject.observe(Records(labelled.images, torch.ones(64, dtype=torch.long), targets))
    return labelled, subject


def test_the_student_learns_the_chat_models_answers_not_the_references():
    labelled, subject = fitted_on_a_liar()
    for round_ in range(4):
        metrics = subject.fit(generator=generator(round_))
    agreement = (
        subject.posteriors(labelled.images.float() / 255)[:, 1].argmax(-1) != labelled.references[:, 1]
    ).float()
    assert float(agreement.mean()) > 0.8
    assert metrics["student_loss"] < math.log(2)


def test_without_queries_fitting_does_nothing():
    subject = student(drawings(8))
    before = [parameter.clone() for parameter in subject.network.parameters()]
    assert subject.fit(generator=generator()) == {}
    assert all(torch.equal(*pair) for pair in zip(before, subject.network.parameters(), strict=True))


def test_pretraining_reads_the_labels_and_its_loss_points_to_them():
    labelled = drawings(64)
    subject = student(labelled)
    subject.pretrain(80, learning_rate=4e-3, generator=generator(), progress=lambda: None)
    images = labelled.images.float() / 255
    right = subject.loss(images, labelled.references, generator=generator())
    wrong = subject.loss(images, 1 - labelled.references, generator=generator())
    assert float(right.mean()) < 0.3
    assert float(wrong.mean()) > 1


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


def test_questions_that_are_not_asked_cost_nothing():
    subject = student(drawings(8))
    images = torch.rand(3, 3, 16, 16)
    none = subject.loss(images, torch.full((3, 2), -1), generator=generator())
    assert none.tolist() == [0, 0, 0]


def test_answers_that_a_question_cannot_have_get_no_probability():
    posteriors = student(drawings(8)).posteriors(torch.rand(2, 3, 16, 16))
    assert float(posteriors[..., 2].max()) == 0
    assert torch.allclose(posteriors.sum(-1), torch.ones(2, 2))


def test_augmentation_keeps_shape_and_range_and_passes_gradients():
    images = torch.rand(4, 3, 32, 32, requires_grad=True)
    changed = augment(images, noise=0.1, generator=generator())
    assert changed.shape == images.shape
    assert float(changed.detach().min()) >= 0
    assert float(changed.detach().max()) <= 1
    changed.sum().backward()
    assert float(images.grad.abs().sum()) > 0


def test_one_question_reads_like_its_column_of_all_questions():
    torch.manual_seed(0)
    reader = Reader(question_vectors([str(index) for index in range(40)]), 5).eval()
    images = torch.rand(3, 3, 16, 16)
    questions = torch.tensor([0, 39, 7])
    assert torch.allclose(
        reader.read(images, questions), reader(images)[torch.arange(3), questions], atol=1e-5
    )


def test_similar_questions_have_similar_vectors_and_all_have_length_one():
    texts = ["how many dogs are there?", "how many cats are there?", "what is the weather"] + [
        str(i) for i in range(40)
    ]
    vectors = question_vectors(texts)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(len(texts)))
    assert float(vectors[0] @ vectors[1]) > float(vectors[0] @ vectors[2]) + 0.2
