"""Choice of thresholds: a composed picture is the one that the finished artifact would make."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from langchain_vpp.engines.face_cover import FaceCover
from langchain_vpp.engines.learned import TorchEngine
from langchain_vpp.network.protector import Protector
from tests.made_detector import fixed_detector
from trainer.recipes.photographs.artifact import finish
from trainer.recipes.photographs.choices import Composer, Setting
from trainer.recipes.photographs.plan import read_plan

FACE = (20.0, 10.0, 36.0, 30.0)
PLAN = read_plan(smoke=True)


@pytest.mark.parametrize(
    "setting",
    [Setting(0.5, 0.0, 0.1, 0.3), Setting(0.5, 0.3, 0.1, 0.95), Setting(0.2, -0.3, 0.1, 0.3, heads=False)],
    ids=str,
)
def test_a_setting_shows_what_the_finished_artifact_would(setting):
    torch.manual_seed(0)
    protector = Protector(PLAN.protector).eval()
    with torch.no_grad():
        protector.head.weight.normal_(std=0.3)
        protector.head.bias.zero_()
    graph = fixed_detector([FACE], [0.9])
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))
    composed = Composer(protector, graph, PLAN).protect(picture, setting)
    finish(protector, sharpness=PLAN.sharpness, threshold=setting.threshold)
    cover = FaceCover(
        graph,
        threshold=setting.weak,
        scales=PLAN.face_detector.scales,
        heads_from=0 if setting.heads else 1,
        sure=setting.sure,
    )
    engine = TorchEngine(protector, digest="", faces=cover)
    made = engine.protect(picture, setting.level)
    away = np.abs(np.asarray(composed, int) - np.asarray(made, int))
    assert away.max() <= 1
    assert (np.asarray(made) != np.asarray(picture)).any()
