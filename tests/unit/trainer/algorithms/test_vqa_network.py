import torch

from trainer.algorithms.vqa_network import VQANetwork, question_vectors


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
