import torch

from trainer.algorithms.augmentation import augment, coarsen


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


def test_coarse_images_lose_detail_and_nothing_else():
    stripes = (torch.arange(32) % 2).float().expand(64, 3, 32, 32)
    seen = coarsen(stripes, generator=generator())
    contrast = seen.amax(dim=(1, 2, 3)) - seen.amin(dim=(1, 2, 3))
    assert 8 < int((contrast == 1).sum()) < 24  # a quarter keeps all detail
    assert int((contrast < 1e-6).sum()) == 64 - int((contrast == 1).sum())
    assert torch.allclose(seen.mean(dim=(1, 2, 3)), torch.tensor(0.5))
