"""Writes an artifact with seeded random weights of the default architecture: enough to measure speed by.

    python -m tests.bench.random_artifact FOLDER

With the extra ``export`` it gets its graphs, calibrated on a few drawn pictures, as a trained one does.
"""

from __future__ import annotations

import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import torch

from langchain_vpp.artifact import Manifest, save_artifact
from langchain_vpp.network.config import ProtectorConfig
from langchain_vpp.network.protector import Protector


def main(folder: Path) -> None:
    """Write it."""
    torch.manual_seed(0)
    manifest = Manifest(
        protector={}, private_attributes={}, questions=(), trained_against="nothing", access="labels", queries=0,
        steps=0, seed=0, data_digest="", created_with="a benchmark",
    )  # fmt: skip
    save_artifact(folder, Protector(ProtectorConfig()), manifest)
    if find_spec("onnx") is None:
        return
    from trainer.data.dataset import load_dataset
    from trainer.export.export import export
    from trainer.sandbox.drawing.scenes import make_data

    with tempfile.TemporaryDirectory() as drawn:
        make_data(Path(drawn) / "data", train=4, val=2, test=1, seed=0)
        export(folder, load_dataset(Path(drawn) / "data"), images=4, least_psnr=0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
