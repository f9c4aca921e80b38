"""An audit that can fail: what leaks is reported as leaking by the whole evaluation, whoever else was fooled."""

from __future__ import annotations

import functools
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from langchain_vpp.errors import DataError
from tests.unit.drawn_people import ATTRIBUTES, Pointwise, draw, fooling, grey, identity, jpeg_noise
from tests.unit.trainer.evaluation.squares import Eyes, quick_settings
from trainer.attackers import ocr
from trainer.attackers.classifier import FreshClassifier
from trainer.data.dataset import Dataset
from trainer.data.format import Example, Task
from trainer.evaluation import EvaluationSettings, evaluate
from trainer.evaluation.attack_suite import AttackSuite, People, Words, fresh_classifiers
from trainer.evaluation.results import OURS, STRONGEST, OperatingPoint
from trainer.evaluation.splits import checked_splits

_QUICK = {"levels": (0.5,), "baselines": {}, "resolution": 32, "classifiers": ("small",), "cold": ()}


@pytest.fixture(scope="module")
def people():
    return {"train": draw(256, 0, people=128), "val": draw(48, 1, people=24), "test": draw(100, 2, people=50)}


@pytest.fixture(scope="module")
def dataset(people, tmp_path_factory) -> Dataset:
    folder = tmp_path_factory.mktemp("people")
    examples = []
    for split, drawn in people.items():
        for number, (image, labels, person) in enumerate(zip(*drawn, strict=True)):
            name = f"{split}{number}.png"
            Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy())).save(folder / name)
            private = {
                attribute: classes[int(label)]
                for (attribute, classes), label in zip(ATTRIBUTES.items(), labels, strict=True)
            }
            task = Task(
                question="Is it a picture?", answer="yes" if number % 2 else "no", choices=("yes", "no")
            )
            texts = {"name": f"Name{number}"} if number % 3 else {}
            examples.append(
                Example(
                    image=name,
                    split=split,
                    group=f"{split}{person}",
                    tasks=(task,),
                    private=private,
                    texts=texts,
                )
            )
    return Dataset(folder, tuple(examples), "digest")


def _point(protect, dataset: Dataset, **changes) -> OperatingPoint:
    report = evaluate(Pointwise(protect), dataset, None, EvaluationSettings(**{**_QUICK, **changes}))
    return report.of(OURS)[0]


_FEW = {"original_images": 192, "train_images": 128}
_ATTACKS = {identity: ("identity",), jpeg_noise: ("inversion",), grey: ("identity", "inversion")}


@pytest.fixture(scope="module")
def point(dataset):
    """Evaluates a protector once, by all the attacks that any test wants to know about."""
    return functools.cache(lambda protect: _point(protect, dataset, attacks=_ATTACKS[protect], **_FEW))


@pytest.mark.trains
def test_an_identity_protector_leaks(point) -> None:
    assert point(identity).leak.low > 0.9


@pytest.mark.trains
def test_a_protector_of_jpeg_noise_leaks(point) -> None:
    assert point(jpeg_noise).leak.low > 0.8


@pytest.mark.trains
def test_a_protector_that_fools_only_the_training_assessor_leaks(dataset, people) -> None:
    assessor, protect = fooling(people["train"])
    test = people["test"]
    assert assessor.right(test._replace(images=protect(test.images))).max() < 0.65
    assert _point(protect, dataset).leak.low > 0.8


@pytest.mark.trains
def test_a_constant_grey_image_is_private(point) -> None:
    assert point(grey).leak.value < 0.1


@pytest.mark.trains
def test_several_attackers_are_reported_each_and_the_strongest_decided_on_val(dataset) -> None:
    weak = FreshClassifier(dataset.private_attributes, warm_epochs=1, epochs=1, side=8)
    weak.name = "weak"
    report = evaluate(
        Pointwise(identity),
        dataset,
        None,
        EvaluationSettings(**_QUICK),
        attackers=[weak, FreshClassifier(dataset.private_attributes)],
    )
    (point,) = report.of(OURS)
    readers = dict.fromkeys(each.reader for each in point.attributes)
    assert list(readers) == [STRONGEST, "weak", "fresh classifier"]
    accuracy = {(each.reader, each.subject): each.accuracy.value for each in point.attributes}
    for name in ATTRIBUTES:
        assert accuracy[STRONGEST, name] == accuracy["fresh classifier", name] > accuracy["weak", name]
    assert point.leak.value > 0.9


def test_two_attackers_of_one_name_are_refused(dataset) -> None:
    twins = [FreshClassifier(dataset.private_attributes) for _ in range(2)]
    with pytest.raises(DataError, match="one name"):
        evaluate(Pointwise(identity), dataset, None, EvaluationSettings(**_QUICK), attackers=twins)


@pytest.mark.trains
def test_precisions_stand_next_to_the_floor_of_chance(point) -> None:
    known, hidden = (point(protect).attributes for protect in (identity, grey))
    for each in known:
        assert each.class_mean_precision.value > 0.95
        assert set(each.class_precisions) == set(ATTRIBUTES[each.subject])
    for each in hidden:
        assert each.precision_floor == pytest.approx(1 / len(ATTRIBUTES[each.subject]), abs=0.01)
        assert each.class_mean_precision.value < each.precision_floor + 0.12


@pytest.mark.trains
def test_what_the_tasks_alone_tell_is_a_floor_of_its_own(dataset) -> None:
    def telling(example: Example) -> Example:
        task = example.tasks[0]
        said = "yes" if example.private["place"] == "left" else "no"
        return example.model_copy(update={"tasks": (task.model_copy(update={"answer": said}),)})

    told = Dataset(dataset.folder, tuple(map(telling, dataset.examples)), "told")
    report = evaluate(Pointwise(grey), told, None, EvaluationSettings(**_QUICK))
    assert report.task_floors["place"].value == 1.0
    assert report.task_floors["tone"].value < 0.6


@pytest.mark.trains
def test_people_are_found_in_originals_and_not_in_grey(point) -> None:
    shown, hidden = ({each.gallery: each for each in point(protect).identity} for protect in (identity, grey))
    assert set(shown) == set(hidden) == {"originals", "protected"}
    for gallery in shown:
        assert shown[gallery].top1.low > 0.5
        assert hidden[gallery].top1.value < 0.1
        assert shown[gallery].people == 50


@pytest.mark.trains
def test_a_reconstruction_of_noise_gives_the_attributes_away_and_one_of_grey_does_not(point) -> None:
    leaky, safe = (point(protect).restored for protect in (jpeg_noise, grey))
    assert leaky.ssim.low > safe.ssim.value
    assert leaky.psnr.low > safe.psnr.value
    assert min(each.accuracy.value for each in leaky.attributes) > 0.8
    for each in safe.attributes:
        assert each.accuracy.low <= each.chance


@pytest.mark.trains
def test_noise_that_is_drawn_anew_averages_out_over_repeated_queries(dataset) -> None:
    calls = itertools.count()

    def noisy(images: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(next(calls))) * 700
        return (images + noise).clamp(0, 255).byte()

    point = _point(noisy, dataset, attacks=("repeated",))
    once, often = (
        sum(each.accuracy.value for each in readings) for readings in (point.attributes, point.repeated)
    )
    assert often > once + 0.1


def test_a_text_attack_without_private_texts_is_refused(dataset) -> None:
    bare = tuple(each.model_copy(update={"texts": {}}) for each in dataset.examples)
    with pytest.raises(DataError, match="private texts"):
        _point(identity, Dataset(dataset.folder, bare, "bare"), attacks=("text",))


def test_identity_with_one_person_in_a_split_is_refused(dataset) -> None:
    one = tuple(
        each.model_copy(update={"group": "same"}) if each.split == "val" else each
        for each in dataset.examples
    )
    with pytest.raises(DataError, match="one person"):
        _point(identity, Dataset(dataset.folder, one, "one"), attacks=("identity",))


def _card(word: str) -> torch.Tensor:
    image = Image.new("RGB", (320, 96), "white")
    ImageDraw.Draw(image).text((16, 30), word, fill="black", font=ImageFont.load_default(32))
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)


@pytest.mark.slow(seconds=6)
def test_words_are_read_by_the_installed_engine_and_not_from_grey() -> None:
    pytest.importorskip("rapidocr")
    words = ["Ferrano", "Kelvani"]
    suite = AttackSuite(
        ["text"],
        People(*[torch.arange(2)] * 3),
        Words(("name",), tuple((each,) for each in words)),
        torch.arange(2),
    )
    images = torch.stack([_card(each) for each in words])
    read = suite._read_words(images, torch.Generator().manual_seed(0))[0]
    hidden = suite._read_words(torch.full_like(images, 128), torch.Generator().manual_seed(0))[0]
    assert (read.exact.value, hidden.exact.value) == (1.0, 0.0)
    assert hidden.distance.value == 1.0
    assert read.count == 2


@pytest.mark.trains
def test_words_are_counted_where_a_picture_has_them(dataset, monkeypatch) -> None:
    monkeypatch.setattr(
        "trainer.evaluation.attack_suite.rapid_ocr", lambda **_: lambda image: ("name1 name2 name4",)
    )
    protected = []

    def counted(images: torch.Tensor) -> torch.Tensor:
        protected.append(len(images))
        return identity(images)

    (words,) = _point(counted, dataset, attacks=("text",), text_pictures=6).words
    assert len(protected) == len(dataset.examples)  # no pairs of training pictures: text learns from none
    assert words.count == 4  # of six, those whose number is no multiple of three
    assert words.exact.value == pytest.approx(3 / 4)
    assert ocr.edits_within("name5", "name1name2name4") == 1


class _Coy(Eyes):
    """Refuses the plain question, and gives in when it is led there step by step."""

    def reply(self, text, pixels):
        if "Step 3" in text:
            return "A hint on the left.\nAnswer: left"
        if "place" in text:
            return "I'm sorry, I can't help with that."
        return super().reply(text, pixels)


@pytest.mark.trains
def test_styles_of_asking_are_judged_apart_and_refusals_counted(dataset, tmp_path) -> None:
    settings = EvaluationSettings(
        **_QUICK,
        private_questions={"place": "In which place is it?"},
        styles=("direct", "steps"),
        queries_per_point=40,
    )
    report = evaluate(Pointwise(identity), dataset, _Coy(), settings, ledger=tmp_path / "l.sqlite")
    direct, steps = report.of(OURS)[0].private_answers
    assert (direct.reader, direct.refused, direct.unusable, direct.accuracy) == ("chat model", 40, 40, None)
    assert (steps.reader, steps.refused, steps.count) == ("chat model, steps", 0, 40)
    assert 0.2 < steps.accuracy.value < 0.8  # it always says "left"


@pytest.mark.parametrize(
    ("resolution", "names"),
    [
        (64, ["fresh classifier", "fresh resnet10", "fresh classifier, protected images only"]),
        (
            384,
            [
                "fresh classifier",
                "fresh classifier at 160 px",
                "fresh resnet10",
                "fresh classifier at 80 px, protected images only",
            ],
        ),
    ],
)
def test_large_pictures_are_looked_at_whole_and_scaled_down(dataset, resolution, names):
    attackers = fresh_classifiers(dataset.private_attributes, EvaluationSettings(), resolution)
    assert [attacker.name for attacker in attackers] == names


def test_of_clips_more_attackers_see_single_frames_and_pictures_of_all(dataset):
    attackers = fresh_classifiers(dataset.private_attributes, EvaluationSettings(), 64, of_clips=True)
    assert [attacker.name.removeprefix("fresh classifier, ") for attacker in attackers][-4:] == [
        "single frames",
        "mean of frames",
        "median of frames",
        "weakest frame",
    ]
    assert len({attacker.name for attacker in attackers}) == len(attackers) == 7


def test_attacks_on_pictures_are_refused_where_there_are_videos(dataset):
    first = dataset.examples[0].model_copy(update={"is_video": True})
    films = replace(dataset, examples=(first, *dataset.examples[1:]))
    settings = quick_settings(attacks=("inversion",))
    with pytest.raises(DataError, match=r"inversion look at pictures.*Nothing was measured"):
        AttackSuite.of(checked_splits(films), settings, ())
