import pytest
import torch

from trainer.algorithms.vqa_network import VQANetwork, question_vectors, with_changes


def test_one_question_reads_like_its_column_of_all_questions():
    torch.manual_seed(0)
    reader = VQANetwork(question_vectors([str(index) for index in range(40)]), 5).eval()
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


@pytest.fixture(scope="module")
def moving():
    torch.manual_seed(0)
    return VQANetwork(question_vectors(("a", "b")), 4, width=12, grid=2, conditioned=True, moving=True).eval()


def test_a_clip_of_one_frame_reads_like_its_image(moving):
    images, level = torch.rand(3, 3, 16, 16), torch.rand(3)
    assert torch.equal(moving(images[:, None], level), moving(images, level))


def test_the_order_of_frames_matters(moving):
    clips, level = torch.rand(2, 5, 3, 16, 16), torch.rand(2)
    read = moving(clips, level)
    assert not torch.allclose(read, moving(clips.flip(1), level), atol=1e-4)
    assert torch.allclose(read[1:], moving(clips[1:], level[1:]), atol=1e-5)


def test_a_held_frame_has_not_changed():
    clips = torch.rand(1, 3, 2, 4, 4)
    clips[:, 2] = clips[:, 1]
    changed = with_changes(clips)
    assert torch.equal(changed[:, :, :2], clips)
    assert torch.equal(changed[0, 1, 2:], clips[0, 1] - clips[0, 0])
    assert not changed[0, [0, 2], 2:].any()
