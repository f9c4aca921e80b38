"""An artifact on its way to other machines: its own files go along, and nothing that lies beside them."""

from __future__ import annotations

import shutil

from PIL import Image

from langchain_vpp.artifact import artifact_folder
from langchain_vpp.cli.protection import Protection
from trainer.scale.ray import artifact_files


def test_a_runs_ledger_and_checkpoint_stay_here(tmp_path):
    run = tmp_path / "run"
    shutil.copytree(artifact_folder("staff-cards"), run)
    for name in ("ledger.sqlite", "checkpoint.pt", "training_pictures.txt"):
        (run / name).write_bytes(b"PICTURE")
    sent = artifact_files(run)
    assert {"manifest.json", "model.safetensors", "protector.onnx", "domain.npz"} <= sent.keys()
    assert not any(b"PICTURE" in data for data in sent.values())

    there = tmp_path / "there"
    there.mkdir()
    for name, data in sent.items():
        (there / name).write_bytes(data)
    protector, settings = Protection(artifact=str(there)).build()
    assert settings == Protection(artifact=str(run)).build()[1]
    shutil.rmtree(there)  # as a machine of the cluster does
    picture = Image.linear_gradient("L").convert("RGB").resize((64, 48))
    assert protector.protect_image(picture).size == picture.size
