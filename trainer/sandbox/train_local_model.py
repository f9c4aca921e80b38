"""Train the weights of the local vision model: ``python -m trainer.sandbox.train_local_model``.

Each scene is drawn for one step and never seen again, in a second process while the first one trains. About
ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import logging
import time
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from trainer.sandbox.local_model import CHOICES, WEIGHTS, LocalVisionModel, SceneNetwork, to_tensor
from trainer.sandbox.scenes import draw_scene

TRAIN_STREAM: Final = 101
"""Second word of a training scene's seed; the streams of ``make_data`` are 0, 1 and 2."""

TEST_STREAM: Final = 102
"""Second word of a test scene's seed."""

TEST_SCENES: Final = 1000
TEST_QUALITY: Final = 85

_logger = logging.getLogger(__name__)


class _Scenes(Dataset[tuple[Tensor, Tensor]]):
    """Drawn on demand; compressed as real pictures are, except each fourth."""

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._seed = seed

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        generator = np.random.default_rng((self._seed, TRAIN_STREAM, index))
        image, labels = draw_scene(generator)
        if index % 4:
            image = compress(image, int(generator.integers(70, 96)))
        return to_tensor(image), targets(labels)


def compress(image: Image.Image, quality: int) -> Image.Image:
    """Return the image after a JPEG round trip; quality is Pillow's, 1 to 95."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def targets(labels: dict[str, str]) -> Tensor:
    """Return each label's index among its choices, in the order of ``CHOICES``, shape ``[attributes]``."""
    return torch.tensor([choices.index(labels[name]) for name, choices in CHOICES.items()])


def disturb(images: Tensor, generator: torch.Generator) -> Tensor:
    """Vary light, colour, sharpness, noise and place, mildly.

    Args:
        images: ``[B, 3, H, W]`` in [0, 1].
        generator: Source of all randomness.
    """
    size = len(images)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(shape, generator=generator) * (high - low) + low

    blurred = nn.functional.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
    share = uniform(-0.6, 0.7, size, 1, 1, 1).clamp_min(0)  # half of the images stay sharp
    images = images.lerp(blurred, share)
    images = images * uniform(0.86, 1.14, size, 1, 1, 1) * uniform(0.96, 1.04, size, 3, 1, 1)
    images = images + torch.randn(images.shape, generator=generator) * uniform(0, 0.03, size, 1, 1, 1)
    down, right = torch.randint(-2, 3, (2,), generator=generator).tolist()
    return images.roll((down, right), (2, 3)).clamp(0, 1)


def train(*, steps: int, batch: int, seed: int, peak_rate: float = 2.5e-3) -> SceneNetwork:
    """Train a network from nothing.

    Args:
        steps: Optimizer steps.
        batch: Scenes in a step.
        seed: Of the initial weights, the scenes and their disturbances.
        peak_rate: Highest learning rate.
    """
    torch.manual_seed(seed)  # a script: the initial weights have no other source
    network = SceneNetwork().to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=peak_rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak_rate, total_steps=steps, pct_start=0.15)
    loader = DataLoader(_Scenes(steps * batch, seed), batch_size=batch, num_workers=1, prefetch_factor=8)
    names = tuple(CHOICES)
    start = time.monotonic()
    for step, (images, labels) in enumerate(loader, start=1):
        inputs = disturb(images, generator).to(memory_format=torch.channels_last)
        logits = network(inputs, names)
        losses = [
            nn.functional.cross_entropy(logits[name], labels[:, place], label_smoothing=0.02)
            for place, name in enumerate(names)
        ]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            shown = " ".join(f"{name} {loss.item():.2f}" for name, loss in zip(names, losses, strict=True))
            _logger.info("step %d of %d, %.0f s: %s", step, steps, time.monotonic() - start, shown)
    return network


def accuracies(model: LocalVisionModel, *, seed: int, scenes: int = TEST_SCENES) -> dict[str, float]:
    """Return the accuracy of each attribute on fresh scenes after a JPEG round trip."""
    images, labels = [], []
    for index in range(scenes):
        image, answer = draw_scene(np.random.default_rng((seed, TEST_STREAM, index)))
        images.append(to_tensor(compress(image, TEST_QUALITY)))
        labels.append(targets(answer))
    truth = torch.stack(labels)
    believed = model.log_probabilities(torch.stack(images))
    return {
        name: (believed[name].argmax(1) == truth[:, place]).double().mean().item()
        for place, name in enumerate(CHOICES)
    }


def save(network: SceneNetwork, folder: Path, *, steps: int, batch: int, seed: int) -> dict[str, float]:
    """Write half-precision weights and their card, and return the accuracies of what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in network.state_dict().items()
    }
    weights = save_tensors(tensors)
    card = {
        "what": "Local vision model of the sandbox: answers questions about drawn scenes of nobody real.",
        "script": "python -m trainer.sandbox.train_local_model",
        "seed": seed,
        "steps": steps,
        "batch": batch,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "licence": "MIT, as the package",
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "model.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    reached = accuracies(LocalVisionModel.load(folder), seed=seed)
    card["test"] = f"{TEST_SCENES} fresh scenes, JPEG quality {TEST_QUALITY}"
    card["accuracy"] = reached
    (folder / "model.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return reached


def main() -> None:
    """Train, save and report."""
    parser = argparse.ArgumentParser(description="Train the sandbox's local vision model.")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--steps", type=int, default=1100)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)  # the other core draws
    network = train(steps=arguments.steps, batch=arguments.batch, seed=arguments.seed)
    reached = save(network, arguments.out, steps=arguments.steps, batch=arguments.batch, seed=arguments.seed)
    _logger.info("accuracy: %s", ", ".join(f"{name} {value:.3f}" for name, value in reached.items()))


if __name__ == "__main__":
    main()
