"""The served graph equals the trained network: pixels against torch, the loaded engine, the front measured again."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("onnx")

from langchain_vpp import ImageProtector
from langchain_vpp.artifact import (
    DOMAIN,
    EXACT_GRAPH,
    GRAPH,
    load_engine,
    load_protector,
    read_manifest,
    save_artifact,
    save_graphs,
)
from langchain_vpp.engines import OnnxEngine, TorchEngine
from langchain_vpp.errors import ArtifactError, DataError
from langchain_vpp.network.protector import Protector, ProtectorConfig
from tests.untrained import manifest
from trainer.data.dataset import Dataset
from trainer.data.format import Example, Task
from trainer.evaluation import EvaluationSettings
from trainer.export import export, recheck
from trainer.export.graph import exact_graph
from trainer.sandbox.drawing.other_kinds import OTHER_KINDS
from trainer.training.domain import give_domain

MANIFEST = manifest(private_attributes={"side": ("left", "right")}, data_digest="digest")
LEVELS = (0.0, 0.13, 0.5, 0.77, 1.0)
EXPORT = import_module("trainer.export.export")


def trained(resolution: int = 64, width: int = 16) -> Protector:
    """Random weights that change pictures, with modulations of either sign."""
    torch.manual_seed(0)
    knots = (0.0, 0.2, 0.9, 1.0)
    config = ProtectorConfig(width=width, blocks=(1, 2, 1), working_resolution=resolution, level_knots=knots)
    protector = Protector(config).eval()
    with torch.no_grad():
        for name, parameter in protector.named_parameters():
            if name.endswith("second.weight"):
                parameter.normal_(std=0.05)
            if name.endswith("film.weight"):
                parameter.mul_(4)
        protector.head.weight.normal_(std=0.15)
        protector.head.bias[48:] = 0.2
    return protector


def scene(seed: int, width: int = 64, height: int = 48) -> Image.Image:
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    kind = (Image.Resampling.NEAREST, Image.Resampling.BICUBIC)[seed % 2]
    return Image.fromarray(coarse).resize((width, height), kind)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    """A dot on the left or on the right is private."""
    folder = tmp_path_factory.mktemp("data")
    examples = []
    for split, count in (("train", 128), ("val", 16), ("test", 48)):
        for number in range(count):
            side = ("left", "right")[number % 2]
            image = scene(len(examples) + 100, 32, 32)
            image.paste((255, 255, 0), (4 if side == "left" else 20, 10, 12 if side == "left" else 28, 22))
            task = Task(question="Is there a dot?", answer="yes", choices=("yes", "no"))
            name = f"{split}{number}.png"
            image.save(folder / name)
            examples.append(Example(image=name, split=split, tasks=(task,), private={"side": side}))
    return Dataset(folder, tuple(examples), "digest")


@pytest.fixture(scope="module", autouse=True)
def _without_domains():
    """Exports fit no domain, which takes long and would cover the pictures that are compared."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EXPORT, "give_domain", lambda folder, _: read_manifest(folder)[1])
        yield


@pytest.fixture
def folder(tmp_path):
    save_artifact(tmp_path / "artifact", trained(), MANIFEST)
    return tmp_path / "artifact"


@pytest.fixture(scope="module")
def exported_once(dataset, tmp_path_factory):
    """An artifact with its graphs, and the outcome of the export."""
    folder = tmp_path_factory.mktemp("exported") / "artifact"
    save_artifact(folder, trained(), MANIFEST)
    return folder, export(folder, dataset)


@pytest.fixture
def exported(exported_once, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(exported_once[0], tmp_path / "exported")


@pytest.mark.slow(seconds=0.03)
@pytest.mark.parametrize("size", [(64, 48), (8, 8), (48, 64), (64, 8)], ids=str)
@pytest.mark.parametrize("level", LEVELS)
def test_the_exact_graph_equals_torch_at_every_size_and_level(size, level):
    protector = trained()
    exact = OnnxEngine(exact_graph(protector).SerializeToString(), working_resolution=64, digest="")
    reference = TorchEngine(protector, digest="")
    image = scene(3, *size)
    one, other = (np.asarray(each.protect(image, level), dtype=int) for each in (exact, reference))
    assert np.abs(one - other).max() <= 1
    assert np.abs(other - np.asarray(image, dtype=int)).mean() > 5


def test_levels_outside_0_to_1_are_taken_for_the_nearest():
    exact = OnnxEngine(exact_graph(trained()).SerializeToString(), working_resolution=64, digest="")
    image = scene(3)
    assert exact.protect(image, -3).tobytes() == exact.protect(image, 0).tobytes()
    assert exact.protect(image, 3).tobytes() == exact.protect(image, 1).tobytes()
    assert exact.protect(image, 0).tobytes() != exact.protect(image, 1).tobytes()


@pytest.mark.slow(seconds=1)
def test_the_quantised_graph_is_near_torch_on_pictures_that_it_was_not_made_from(exported):
    quantised, reference = load_engine(exported), TorchEngine(load_protector(exported)[0], digest="")
    assert quantised.name == "onnx"
    for seed in range(6):
        for level in LEVELS:
            one, other = (
                np.asarray(engine.protect(scene(seed), level), dtype=float)
                for engine in (quantised, reference)
            )
            assert np.mean((one - other) ** 2) < 255**2 / 10**3.2  # 32 dB


def painting_one_grey(grey: int, kept: float | None = None) -> Protector:
    """Everything that is not kept is this grey; ``kept`` of everything, if it is given."""
    protector = trained()
    with torch.no_grad():
        protector.head.weight[:48] = 0
        protector.head.bias[:48] = math.log(grey / (255 - grey))
        if kept is not None:
            share = (kept + 0.2) / 1.4
            protector.head.weight[48:] = 0
            protector.head.bias[48:] = math.log(share / (1 - share))
    return protector


@pytest.mark.slow(seconds=0.4)
@pytest.mark.parametrize("grey", [100, 128])
def test_graphs_that_paint_one_grey_equal_torch_too(folder, dataset, grey):
    save_artifact(folder, painting_one_grey(grey), MANIFEST)
    done = export(folder, dataset, images=16)
    assert done.largest_difference <= 1
    assert done.psnr > 35
    reference, served = TorchEngine(load_protector(folder)[0], digest=""), load_engine(folder)
    image = scene(3)
    for level in LEVELS:
        kept = np.asarray(reference.protect(image, level), dtype=int)
        assert kept.std() > 10
        assert np.abs(np.asarray(served.protect(image, level), dtype=int) - kept).mean() < 4
    # The colours' channels are not computed: of the head's 64, those of the mask are left.
    import onnx

    shapes = [tuple(each.dims) for each in onnx.load(folder / EXACT_GRAPH).graph.initializer]
    assert (64, 16, 3, 3) not in shapes


@pytest.mark.slow(seconds=2)
@pytest.mark.parametrize("painted", [True, False], ids=["one grey", "colours"])
def test_a_mask_that_int8_opens_a_little_is_closed_and_one_that_is_open_is_not(folder, dataset, painted):
    for kept, shown in ((0.0, False), (0.03, False), (0.2, True)):
        protector = painting_one_grey(128, kept)
        with torch.no_grad():
            # Of colours that are not all the same, the graph computes every one.
            protector.head.bias[0] += 0.0 if painted else 1e-6
        save_artifact(folder, protector, MANIFEST)
        assert export(folder, dataset, images=8, least_psnr=0.0).quantised
        differences = np.asarray(load_engine(folder).protect(scene(2), 0.5), dtype=int) - 128
        assert (np.abs(differences).max() > 10) == shown
        assert shown or np.ptp(differences) == 0


@pytest.mark.slow(seconds=0.38)
@pytest.mark.parametrize("grey", [100, 128])
def test_a_mask_that_is_open_gives_the_picture_itself(folder, dataset, grey):
    save_artifact(folder, painting_one_grey(grey, 1.15), MANIFEST)
    assert export(folder, dataset, images=16).quantised
    served = load_engine(folder)
    for seed, size in enumerate([(64, 48), (48, 64), (8, 8)]):
        assert served.protect(scene(seed, *size), 0.5).tobytes() == scene(seed, *size).tobytes()


@pytest.mark.slow(seconds=1)
def test_an_export_writes_both_graphs_with_their_digests(folder, exported_once):
    before = read_manifest(folder)
    exported, done = exported_once
    manifest, digest = read_manifest(exported)
    assert set(manifest.files) == {"model.safetensors", GRAPH, EXACT_GRAPH}
    for name, sha256 in manifest.files.items():
        assert hashlib.sha256((exported / name).read_bytes()).hexdigest() == sha256
    assert (done.digest, done.quantised) == (digest, True)
    assert done.largest_difference <= 1
    assert done.psnr > 35
    assert digest != before[1]
    assert manifest.model_copy(update={"files": before[0].files}) == before[0]
    assert (exported / GRAPH).stat().st_size < (exported / EXACT_GRAPH).stat().st_size / 1.8


@pytest.mark.slow(seconds=1)
def test_exporting_again_gives_the_same_bytes(exported_once, exported, dataset):
    graphs = [(exported / name).read_bytes() for name in (GRAPH, EXACT_GRAPH)]
    assert export(exported, dataset) == exported_once[1]
    assert [(exported / name).read_bytes() for name in (GRAPH, EXACT_GRAPH)] == graphs


@pytest.mark.trains
@pytest.mark.slow(seconds=1)
def test_an_export_fits_the_domain_to_what_is_served(exported, dataset, monkeypatch):
    monkeypatch.setattr(EXPORT, "give_domain", give_domain)
    monkeypatch.setattr("trainer.training.domain.OTHER_KINDS", {"inverted": OTHER_KINDS["inverted"]})
    done = export(exported, dataset, images=8)
    manifest, digest = read_manifest(exported)
    assert (done.digest, set(manifest.files)) == (digest, {"model.safetensors", GRAPH, EXACT_GRAPH, DOMAIN})
    assert manifest.domain.told_apart.keys() | set(manifest.domain.alike) == {"inverted"}
    engine = load_engine(exported)
    covered = [not engine.judged(dataset.open_image(each), 0.5).is_familiar for each in dataset.split("test")]
    assert np.mean(covered) < 0.15
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    assert not engine.judged(noise, 0.5).is_familiar
    save_graphs(exported, {})
    assert read_manifest(exported)[0].domain is None


@pytest.mark.parametrize("level", LEVELS)
def test_the_exact_graph_pools_what_torch_pools(level):
    protector = trained()
    exact = OnnxEngine(exact_graph(protector).SerializeToString(), working_resolution=64, digest="")
    reference = TorchEngine(protector, digest="")
    for size in ((64, 48), (8, 8), (40, 64)):
        one, other = (each.pooled(scene(3, *size), level) for each in (exact, reference))
        assert one.shape == other.shape == (4 + 2 * 16 + 32, -(-size[1] // 32), -(-size[0] // 32))
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_the_quantised_graph_judges_about_as_torch_does(exported):
    served, reference = load_engine(exported), TorchEngine(load_protector(exported)[0], digest="")
    one, other = (each.pooled(scene(5), 0.5) for each in (served, reference))
    assert np.abs(one - other).mean() < 0.05 * np.abs(other).mean()


def test_a_quantised_graph_that_differs_too_much_is_not_served(folder, dataset):
    done = export(folder, dataset, images=8, least_psnr=99)
    assert not done.quantised
    assert set(read_manifest(folder)[0].files) == {"model.safetensors", EXACT_GRAPH}
    image = scene(1)
    reference = TorchEngine(load_protector(folder)[0], digest="")
    served = np.asarray(load_engine(folder).protect(image, 0.5), dtype=int)
    assert np.abs(served - np.asarray(reference.protect(image, 0.5), dtype=int)).max() <= 1


@pytest.mark.slow(seconds=1)
def test_a_graph_that_does_not_equal_the_network_is_not_written(folder, dataset, monkeypatch):
    other = trained()
    with torch.no_grad():
        other.head.bias.add_(0.5)
    monkeypatch.setattr(EXPORT, "exact_graph", lambda _: exact_graph(other))
    before = read_manifest(folder)
    with pytest.raises(ArtifactError, match=r"differs from the network by \d+ grey levels"):
        export(folder, dataset)
    assert read_manifest(folder) == before


def test_an_export_without_images_is_refused(folder, tmp_path):
    with pytest.raises(DataError, match="no image in train"):
        export(folder, Dataset(tmp_path, (), "digest"))


@pytest.mark.parametrize("name", [GRAPH, EXACT_GRAPH, "model.safetensors"])
def test_one_changed_byte_in_any_file_is_found(exported, name):
    data = bytearray((exported / name).read_bytes())
    data[len(data) // 2] ^= 1
    (exported / name).write_bytes(data)
    with pytest.raises(ArtifactError, match="sha256 differs"):
        load_protector(exported)
    if name == GRAPH:
        with pytest.raises(ArtifactError, match="sha256 differs"):
            load_engine(exported)


def test_what_is_no_graph_is_refused_without_its_content(folder):
    for graph in (b"", b"secret" * 10):
        save_graphs(folder, {GRAPH: graph})
        with pytest.raises(ArtifactError, match="can't load the graph") as caught:
            load_engine(folder)
        assert "secret" not in str(caught.value)
        assert caught.value.__context__ is None


def test_only_graphs_are_put_into_an_artifact(folder):
    with pytest.raises(ValueError, match="must be named"):
        save_graphs(folder, {"model.safetensors": b""})


def test_training_again_or_no_graph_goes_back_to_torch(exported, tmp_path):
    assert load_engine(exported).name == "onnx"
    again = shutil.copytree(exported, tmp_path / "again")
    save_graphs(exported, {})
    assert load_engine(exported).name == "torch"
    save_artifact(again, trained(), MANIFEST)
    assert load_engine(again).name == "torch"


def test_an_invalid_configuration_is_refused_with_a_graph_too(exported):
    path = exported / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["protector"]["working_resolution"] = 10**6
    path.write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="configuration of the protector"):
        load_engine(exported)


@pytest.mark.slow(seconds=0.48)
def test_a_graph_is_served_without_torch(exported):
    code = f"""
import sys
from PIL import Image
from langchain_vpp import ImageProtector
protector = ImageProtector.from_pretrained({str(exported)!r}, level=0.6)
assert protector.protect_image(Image.new("RGB", (100, 80), "red")).size == (100, 80)
print([name for name in ("torch", "torchvision", "trainer", "onnx", "safetensors") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow(seconds=5)
def test_the_check_for_torch_can_fail(folder):
    code = f"""
import sys
from langchain_vpp import ImageProtector
ImageProtector.from_pretrained({str(folder)!r})
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


@pytest.mark.slow(seconds=2)
def test_the_same_picture_gives_the_same_bytes_in_every_thread_and_process(exported):
    protector = ImageProtector.from_pretrained(exported, level=0.6, memo_bytes=0)
    pictures = [scene(seed, 300 + seed, 200) for seed in range(4)]
    alone = [protector.protect_image(each).tobytes() for each in pictures]
    with ThreadPoolExecutor(8) as pool:
        beside = list(pool.map(lambda each: protector.protect_image(each).tobytes(), pictures * 8))
    assert beside == alone * 8
    pictures[0].save(exported.parent / "picture.png")
    code = f"""
import hashlib
from langchain_vpp import ImageProtector
protector = ImageProtector.from_pretrained({str(exported)!r}, level=0.6)
data = open({str(exported.parent / "picture.png")!r}, "rb").read()
print(hashlib.sha256(protector.protect_encoded(data)).hexdigest())
"""
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    }
    here = protector.protect_encoded((exported.parent / "picture.png").read_bytes())
    assert runs == {hashlib.sha256(here).hexdigest()}


def test_no_detail_above_the_working_resolution_reaches_the_output(exported):
    protector = ImageProtector.from_pretrained(exported, level=0.0)
    stripes = np.zeros((512, 512, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    plain = np.full_like(stripes, 128)
    shown = [
        np.asarray(protector.protect_image(Image.fromarray(each)), dtype=int) for each in (stripes, plain)
    ]
    assert np.abs(shown[0] - shown[1]).max() <= 3


@pytest.mark.trains
def test_the_front_is_measured_again_on_what_is_served(exported, dataset):
    settings = EvaluationSettings(levels=(0.0, 1.0), train_images=128, classifiers=("small",), cold=())
    again = recheck(exported, dataset, settings=settings)
    assert [point.level for point in again.served.points] == [0.0, 1.0]
    assert {point.engine for point in again.torch.points} == {"ours"}
    assert again.largest_utility_loss is None
    assert abs(again.largest_leak_gain) < 0.5


@pytest.mark.trains
def test_the_recheck_sees_a_graph_that_protects_less(folder, dataset):
    # What is served is another network, next to the identity; what was trained hides everything.
    torch.manual_seed(1)
    open_network = Protector(trained().config).eval()
    with torch.no_grad():
        open_network.head.weight.zero_()
        open_network.head.bias[48:] = 9
    closed = trained()
    with torch.no_grad():
        closed.head.weight.zero_()
        closed.head.bias[48:] = -9
    save_artifact(folder, closed, MANIFEST)
    save_graphs(folder, {GRAPH: exact_graph(open_network).SerializeToString()})
    settings = EvaluationSettings(levels=(0.5,), train_images=128, classifiers=("small",), cold=())
    assert recheck(folder, dataset, settings=settings).largest_leak_gain > 0.5


def test_there_is_nothing_to_recheck_without_a_graph(folder, dataset):
    with pytest.raises(ArtifactError, match="no graph to compare"):
        recheck(folder, dataset)
