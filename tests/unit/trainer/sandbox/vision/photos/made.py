"""A photograph that is invented: objects, phrases that fit it, and a face."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from trainer.sandbox.vision.photo_model import PhotoModel
from trainer.sandbox.vision.photos.faces import Face
from trainer.sandbox.vision.photos.objects import Seen

BOX = (0.2, 0.2, 0.6, 0.8)
STREET = (
    Seen("dog", 0.7, BOX),
    Seen("person", 0.6, BOX),
    Seen("person", 0.3, (0.6, 0.1, 0.8, 0.9)),
    Seen("bicycle", 0.3, BOX),
    Seen("cat", 0.05, BOX),
)


class FakeDetector:
    """Finds what it was told, and counts how often it was asked."""

    def __init__(self, objects):
        self.objects, self.calls = objects, 0

    def find(self, image):
        self.calls += 1
        return self.objects


class FakeScenes:
    """Says that phrases fit by a mapping; all others don't."""

    def __init__(self, fits):
        self.fits = fits

    def classes(self, image):
        return torch.zeros(1000)

    def fit(self, classes, objects, phrases):
        return [self.fits.get(phrase, 0.0) for phrase in phrases]


class FakeFaces:
    def __init__(self, face):
        self.face = face

    def read(self, image):
        return self.face


def model(objects=STREET, fits=None, face=Face("female", 34)):  # noqa: B008  a tuple, never changed
    fits = {"skateboarding": 0.3, "street": 0.4} if fits is None else fits
    return PhotoModel(FakeDetector(objects), FakeScenes(fits), FakeFaces(face))


def picture(colour=(200, 20, 20), size=(80, 60)):
    return Image.fromarray(np.full((size[1], size[0], 3), colour, np.uint8))
