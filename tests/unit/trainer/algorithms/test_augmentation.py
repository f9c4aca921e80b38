import torch

from trainer.algorithms.augmentation import augment


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_augmentation_keeps_shape_and_range_and_passes_gradients():
    images = torch.rand(4, 3, 32, 32, requires_grad=True)
    changed = augment(images, noise=0.1, generator=generator())
    assert changed.shape == images.shape
    assert float(changed.detach().min()) >= 0
    assert float(changed.detach().max()) <= 1
    changed.sum().backward()
    assert float(images.grad.abs().sum()) > 0
