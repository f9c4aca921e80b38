"""An artifact is loaded only if it is exactly what was saved."""

from __future__ import annotations

import hashlib
import json
import pickle
import sys
import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image

from langchain_vpp import ImageProtector
from langchain_vpp.artifact import (
    DOMAIN,
    FrontPoint,
    Manifest,
    artifact_folder,
    level_of,
    load_artifact,
    load_engine,
    load_protector,
    read_manifest,
    save_admission,
    save_artifact,
    save_presets,
    shipped_artifacts,
    verify_artifact,
)
from langchain_vpp.errors import ArtifactError, DomainWarning, MissingExtraError
from langchain_vpp.manifest import warn_once
from langchain_vpp.network.protector import Protector, ProtectorConfig
from tests.domains import FACTS, give
from tests.untrained import manifest as untrained_manifest
from tests.untrained import save_untrained

CONFIG = ProtectorConfig(width=8, blocks=(1, 1, 1), working_resolution=32, level_knots=(0.0, 0.3, 1.0))
MANIFEST = Manifest(
    protector={},
    private_attributes={"gender": ("f", "m")},
    questions=("Colour?",),
    trained_against="ChatOpenAI:m",
    access="labels",
    queries=12,
    steps=3,
    seed=0,
    data_digest="0" * 64,
    front=(FrontPoint(level=0.5, leak=0.2, utility=0.9),),
    presets={"balanced": 0.4},
    created_with="test",
)


@pytest.fixture
def protector():
    torch.manual_seed(0)
    return Protector(CONFIG)


@pytest.fixture
def folder(tmp_path, protector):
    save_artifact(tmp_path / "artifact", protector, MANIFEST)
    return tmp_path / "artifact"


def refuse(folder, match):
    with pytest.raises(ArtifactError, match=match) as caught:
        load_engine(folder)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    with pytest.raises(ArtifactError):
        ImageProtector.from_pretrained(folder)


def edit_manifest(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_is_loaded_equals_what_was_saved(folder, protector):
    loaded, manifest, digest = load_protector(folder)
    assert loaded.config == CONFIG
    assert not loaded.training
    assert all(
        torch.equal(tensor, protector.state_dict()[name]) for name, tensor in loaded.state_dict().items()
    )
    assert manifest.front == MANIFEST.front
    assert (manifest, digest) == read_manifest(folder)
    assert digest == hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()


def test_saving_again_gives_the_same_bytes(folder, protector):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    save_artifact(folder, protector, MANIFEST)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert set(before) == {"model.safetensors", "manifest.json"}


@pytest.mark.parametrize("position", [0, 7, 8, 200, -1], ids=lambda each: f"byte {each}")
def test_one_changed_byte_in_the_weights_is_refused(folder, position):
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[position] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    refuse(folder, r"model\.safetensors is not the file that the manifest describes")


def test_cut_and_lengthened_weights_are_refused(folder):
    data = (folder / "model.safetensors").read_bytes()
    for changed in (data[:-1], data + b"\0", b""):
        (folder / "model.safetensors").write_bytes(changed)
        refuse(folder, "sha256 differs")


def test_every_change_of_the_manifest_changes_the_digest(folder):
    before = read_manifest(folder)[1]
    edit_manifest(folder, presets={"balanced": 0.0})
    assert read_manifest(folder)[1] != before


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"format": 2}, "format 1 .format"),
        ({"format": "1"}, "format 1 .format"),
        ({"queries": -1}, "queries"),
        ({"access": "all"}, "access"),
        ({"unknown": 1}, "unknown"),
        ({"front": [{"level": 2, "leak": 0, "utility": 0}]}, "front.0.level"),
        ({"files": {}}, "must list exactly model.safetensors"),
        ({"files": {"model.safetensors": "0" * 64}}, "sha256 differs"),
        ({"files": {"../model.safetensors": "0" * 64}}, "must list exactly"),
        ({"protector": {}}, "don't fit"),
        ({"protector": {"width": 10**9}}, "don't fit"),
        ({"protector": {"architecture": "os.system"}}, "don't fit"),
        ({"protector": {"width": 16, "blocks": [1, 1, 1], "working_resolution": 32}}, "don't fit"),
    ],
    ids=str,
)
def test_a_manifest_that_does_not_hold_is_refused(folder, changes, match):
    edit_manifest(folder, **changes)
    refuse(folder, match)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 10_000], ids=lambda each: str(each[:8])
)
def test_a_manifest_that_is_no_manifest_is_refused(folder, text):
    (folder / "manifest.json").write_bytes(text)
    refuse(folder, "not a manifest of format 1")


def test_a_huge_manifest_is_refused_before_it_is_read(folder):
    with (folder / "manifest.json").open("ab") as file:
        file.truncate(2**40)  # sparse
    refuse(folder, "too large")


@pytest.mark.parametrize("name", ["model.safetensors", "manifest.json"])
def test_a_missing_file_is_refused(folder, name):
    (folder / name).unlink()
    refuse(folder, "could not be read: No such file")


@pytest.mark.parametrize("name", ["model.safetensors", "manifest.json"])
def test_a_file_that_cannot_be_read_is_refused(folder, name):
    (folder / name).unlink()
    (folder / name).mkdir()
    refuse(folder, "could not be read: Is a directory")


@pytest.mark.parametrize("name", ["nothing", "artifact/manifest.json", "line\nbreak"])
def test_what_is_no_folder_is_refused_in_one_line(folder, name):
    with pytest.raises(ArtifactError, match="there is no artifact folder") as caught:
        load_engine(folder.parent / name)
    assert "\n" not in str(caught.value)


def test_the_default_is_the_folder_that_comes_with_the_package(folder, monkeypatch):
    monkeypatch.setattr("langchain_vpp.artifact._SHIPPED", folder.parent)
    monkeypatch.setattr("langchain_vpp.artifact._DEFAULT", folder.name)
    loaded = ImageProtector.from_pretrained("default", level=0.3)
    image = Image.new("RGB", (40, 24), (200, 30, 90))
    same = ImageProtector.from_pretrained(folder, level=0.3)
    assert loaded.protect_image(image).tobytes() == same.protect_image(image).tobytes()
    assert load_engine("default").digest == read_manifest(folder)[1]
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(ArtifactError, match="sha256 differs"):
        load_engine("default")


def test_an_artifact_that_comes_along_is_found_by_its_name():
    assert "staff-cards" in shipped_artifacts()
    named, default = artifact_folder("staff-cards"), artifact_folder("default")
    assert named == default
    assert load_engine("staff-cards").digest == load_engine("default").digest


@pytest.fixture
def first_use():
    """As in a process that has not loaded `default` before."""
    warn_once.cache_clear()
    yield
    warn_once.cache_clear()


@pytest.mark.usefixtures("first_use")
def test_default_says_once_which_artifact_it_is_and_for_which_pictures():
    with pytest.warns(FutureWarning) as caught:
        ImageProtector.from_pretrained("default")
    (warning,) = caught
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_engine("default")
        ImageProtector.from_pretrained("default")
    assert warning.filename == __file__  # the line that asked for it, not ours
    for said in (
        "'default'",
        "'staff-cards'",
        "staff cards with a portrait",
        "private text",
        "later version",
    ):
        assert said in str(warning.message)


@pytest.mark.usefixtures("first_use")
def test_no_other_name_warns(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    folder.rename("default")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for source in ("staff-cards", "./default", Path("default")):
            artifact_folder(source)


def test_a_folder_of_the_same_name_is_told_apart_by_its_path(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder.rename("staff-cards")
    assert artifact_folder("./staff-cards").resolve() == tmp_path / "staff-cards"
    assert artifact_folder(Path("staff-cards")).resolve() == tmp_path / "staff-cards"
    assert artifact_folder("staff-cards") != tmp_path / "staff-cards"


def test_an_unknown_name_is_answered_with_those_that_come_along():
    with pytest.raises(
        ArtifactError, match=r"no artifact folder 'photos', .* has: default, photographs, staff-cards\."
    ):
        ImageProtector.from_pretrained("photos")


def test_verifying_reads_every_file_and_the_configuration(folder):
    assert verify_artifact(folder) == read_manifest(folder)
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(ArtifactError, match="sha256 differs"):
        verify_artifact(folder)


def test_verifying_refuses_a_configuration_that_is_not_valid(folder):
    text = json.loads((folder / "manifest.json").read_text())
    text["protector"]["width"] = -1
    (folder / "manifest.json").write_text(json.dumps(text))
    with pytest.raises(ArtifactError, match=r"configuration of the protector .* is not valid"):
        verify_artifact(folder)


@pytest.mark.parametrize("missing", ["torch", "safetensors"])
def test_weights_without_torch_name_the_extra(folder, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=rf"was not loaded: {missing} must .*langchain-vpp\[train\]"):
        load_protector(folder)
    verify_artifact(folder)


def test_a_level_is_a_number_or_one_of_the_artifacts_presets(tmp_path, protector):
    presets = {"low": 0.2, "balanced": 0.8, "high": 1.0}
    save_artifact(tmp_path / "a", protector, MANIFEST.model_copy(update={"presets": presets}))
    for given, level in (({}, 0.8), ({"level": "low"}, 0.2), ({"level": 0.3}, 0.3)):
        assert f"level={level}," in repr(ImageProtector.from_pretrained(tmp_path / "a", **given))
    with pytest.raises(ValueError, match=r"no preset 'strong'; it has balanced, high, low"):
        ImageProtector.from_pretrained(tmp_path / "a", level="strong")
    save_artifact(tmp_path / "b", protector, MANIFEST.model_copy(update={"presets": {}}))
    assert "level=0.5," in repr(ImageProtector.from_pretrained(tmp_path / "b"))
    with pytest.raises(ValueError, match="it has none"):
        ImageProtector.from_pretrained(tmp_path / "b", level="low")


def test_other_presets_change_the_digest_and_nothing_else(folder, protector):
    before, digest = read_manifest(folder)
    presets = {"balanced": 0.9, "high": 1.0}
    assert save_presets(folder, presets) != digest
    after, _ = read_manifest(folder)
    assert after == before.model_copy(update={"presets": presets})
    assert level_of(after, None) == 0.9
    for name, value in load_protector(folder)[0].state_dict().items():
        assert torch.equal(value, protector.state_dict()[name]), name


def test_without_a_default_artifact_it_is_said_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("langchain_vpp.artifact._SHIPPED", tmp_path / "missing")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtifactError, match=r"without the default artifact.*vpp train") as caught:
        ImageProtector.from_pretrained("default")
    assert caught.value.__context__ is None


def test_a_folder_that_is_called_default_is_not_taken_for_the_packages(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("langchain_vpp.artifact._SHIPPED", tmp_path / "missing")
    monkeypatch.chdir(tmp_path)
    folder.rename("default")
    with pytest.raises(ArtifactError, match="without the default artifact"):
        load_engine("default")
    assert artifact_folder("./default").resolve() == tmp_path / "default"
    load_engine("./default")


def test_licence_and_attribution_are_kept(tmp_path, protector):
    said = {"licence": "MIT; portraits CC BY 4.0", "attribution": "FairFace, K\u00e4rkk\u00e4inen and Joo"}
    save_artifact(tmp_path / "a", protector, MANIFEST.model_copy(update=said))
    manifest, _ = read_manifest(tmp_path / "a")
    assert {"licence": manifest.licence, "attribution": manifest.attribution} == said


def test_a_pickle_in_place_of_the_weights_is_never_opened(folder, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    data = pickle.dumps(Bomb())
    (folder / "model.safetensors").write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_text())
    edit_manifest(folder, files=manifest["files"] | {"model.safetensors": hashlib.sha256(data).hexdigest()})
    refuse(folder, "don't fit its configuration")
    assert not (tmp_path / "exploded").exists()


def test_a_folder_that_cannot_be_written_is_reported(tmp_path, protector):
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match="was not written to") as caught:
        save_artifact(tmp_path / "file" / "artifact", protector, MANIFEST)
    assert caught.value.__context__ is None


def test_an_interrupted_save_leaves_an_artifact_that_is_refused(folder, protector, monkeypatch):
    from langchain_vpp import artifact

    replace = artifact._replace

    def stop_before_the_manifest(path, data):
        if path.name == "manifest.json":
            raise KeyboardInterrupt
        replace(path, data)

    with torch.no_grad():
        protector.stem.weight.add_(1)
    monkeypatch.setattr(artifact, "_replace", stop_before_the_manifest)
    with pytest.raises(KeyboardInterrupt):
        save_artifact(folder, protector, MANIFEST)
    refuse(folder, "sha256 differs")


SHOWN = ({"level": 0.5, "kinds": ("words", "names")}, {"level": 1.0, "kinds": ()})


@pytest.fixture
def admission(tmp_path):
    manifest = untrained_manifest(
        engine="words", shown=SHOWN, needs={"Who?": ("names",)}, presets={"balanced": 0.5}
    )
    save_admission(tmp_path / "admission", manifest)
    return tmp_path / "admission"


@pytest.mark.slow(seconds=1)
def test_a_learned_admission_is_a_manifest_alone(admission):
    assert [path.name for path in admission.iterdir()] == ["manifest.json"]
    manifest, digest = verify_artifact(admission)
    assert (manifest.protector, manifest.files) == ({}, {})
    made = load_artifact(admission)
    assert made.digest == digest
    assert made.engine.shown_at(0.3) == {"words", "names"}
    assert made.engine.shown_at(0.6) == frozenset()
    assert made.engine.answering("Who is it?").shown_at(0.3) == {"names"}


def test_another_admission_has_another_digest(admission, tmp_path):
    other = untrained_manifest(engine="words", shown=SHOWN[1:])
    save_admission(tmp_path / "other", other)
    digests = {load_artifact(each).engine.digest for each in (admission, tmp_path / "other")}
    assert len(digests) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"shown": [{"level": 0.5, "kinds": ["everything"]}]},
        {"shown": [{"level": 0.5, "kinds": []}, {"level": 0.25, "kinds": []}]},
        {"shown": [{"level": 0.5, "kinds": []}, {"level": 0.5, "kinds": ["words"]}]},
        {"files": {"model.safetensors": "0" * 64}},
    ],
    ids=str,
)
def test_an_admission_that_does_not_hold_is_refused(admission, changes):
    edit_manifest(admission, **changes)
    refuse(admission, "kinds that this version knows, by rising level, and no files")


def test_an_admission_has_no_network_and_a_network_no_admission(admission, folder):
    with pytest.raises(ArtifactError, match=r"has no network\. Nothing was loaded"):
        load_protector(admission)
    with pytest.raises(ValueError, match="saved with its weights"):
        save_admission(folder, MANIFEST)
    edit_manifest(folder, engine="words")
    refuse(folder, "no files")


# -- domain --------------------------------------------------------------------------------------------------------


@pytest.fixture
def with_domain(tmp_path):
    folder = tmp_path / "known"
    save_untrained(folder)
    give(folder, [Image.new("RGB", (40, 24), (grey, grey, 90)) for grey in range(100, 110)])
    return folder


def test_a_domain_is_loaded_with_the_engine(with_domain):
    manifest, digest = read_manifest(with_domain)
    assert manifest.domain == FACTS
    assert set(manifest.files) == {"model.safetensors", DOMAIN}
    engine = load_engine(with_domain)
    assert engine.digest == digest
    assert not engine.judged(Image.effect_noise((40, 24), 90).convert("RGB"), 0.0).is_familiar
    assert engine.judged(Image.new("RGB", (40, 24), (104, 104, 90)), 0.7).is_familiar


@pytest.mark.parametrize("position", [0, 100, -1], ids=lambda each: f"byte {each}")
def test_one_changed_byte_in_the_statistics_is_refused(with_domain, position):
    data = bytearray((with_domain / DOMAIN).read_bytes())
    data[position] ^= 1
    (with_domain / DOMAIN).write_bytes(data)
    refuse(with_domain, r"domain\.npz is not the file that the manifest describes")
    with pytest.raises(ArtifactError, match="sha256 differs"):
        verify_artifact(with_domain)


def test_missing_statistics_are_refused(with_domain):
    (with_domain / DOMAIN).unlink()
    refuse(with_domain, "could not be read: No such file")


def test_statistics_that_are_none_are_refused_though_the_digest_fits(with_domain):
    (with_domain / DOMAIN).write_bytes(b"none")
    files = read_manifest(with_domain)[0].files | {DOMAIN: hashlib.sha256(b"none").hexdigest()}
    edit_manifest(with_domain, files=files)
    refuse(with_domain, "holds no statistics of a domain")


def test_facts_and_statistics_of_a_domain_go_together(with_domain):
    edit_manifest(with_domain, domain=None)
    refuse(with_domain, "or neither")


@pytest.mark.usefixtures("first_use")
def test_an_artifact_of_an_earlier_version_works_and_says_that_its_domain_is_unknown(folder):
    with pytest.warns(DomainWarning, match="is unknown") as caught:
        protector = ImageProtector.from_pretrained(folder)
    assert [each.filename for each in caught] == [__file__]
    image = Image.effect_noise((40, 24), 90).convert("RGB")
    assert protector.protect_image(image).tobytes() != protector.protect_image(image.rotate(180)).tobytes()


def test_training_again_forgets_the_domain_of_other_weights(with_domain, protector):
    save_artifact(with_domain, protector, MANIFEST.model_copy(update={"domain": FACTS}))
    assert read_manifest(with_domain)[0].domain is None
