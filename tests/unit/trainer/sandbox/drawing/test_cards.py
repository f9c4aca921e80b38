"""Staff cards: what is drawn is what the labels say, legible, and no portrait stands on both sides."""

from __future__ import annotations

import itertools
import json
import sys
from collections import Counter, defaultdict

import numpy as np
import pytest
from PIL import Image

from langchain_vpp.cli.app import app
from langchain_vpp.errors import DataError, MissingExtraError
from trainer.data.dataset import load_dataset
from trainer.sandbox.drawing import card_design, cards
from trainer.sandbox.drawing.cards import CARD_TASKS, CARD_VIEW, TEXTS, draw_card, make_cards
from trainer.sandbox.drawing.portraits import PORTRAIT_ATTRIBUTES, Portrait, read_portraits

pytestmark = pytest.mark.slow(seconds=2)  # each draws cards

ATTRIBUTES = {"gender": "female", "age_group": "30-39", "race": "White"}
FACE = Image.new("RGB", (128, 128), (226, 24, 250))
HEAD = "file,age_group,gender,race\n"


def card(seed, **options):
    return draw_card(np.random.default_rng(seed), FACE, ATTRIBUTES, **options)


@pytest.fixture(scope="module")
def drawn():
    return [card((1, number)) for number in range(80)]


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """A collection of 60 portraits of all labels, of which some are children's."""
    folder = tmp_path_factory.mktemp("faces")
    ages = itertools.cycle([*PORTRAIT_ATTRIBUTES["age_group"], "0-2", "10-19"])
    races = itertools.cycle(PORTRAIT_ATTRIBUTES["race"])
    lines = []
    for number in range(60):
        name = f"{'val' if number % 4 == 0 else 'train'}/{number}.jpg"
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (32, 32), (number * 4, 255 - number * 4, 90)).save(folder / name)
        race = next(races).replace(" ", "_") if number % 2 else next(races)
        lines.append(f"{name},{next(ages)},{('male', 'female')[number // 2 % 2]},{race}\n")
    (folder / "labels.csv").write_text(HEAD + "".join(lines))
    return folder


# -- one card --------------------------------------------------------------------------------------------------------


def test_same_generator_state_draws_the_same_pixels_and_facts():
    first, second, other = card(5), card(5), card(6)
    assert first.image.tobytes() == second.image.tobytes()
    assert first[1:] == second[1:]
    assert first.image.tobytes() != other.image.tobytes()


@pytest.mark.parametrize(("width", "size"), [(320, (320, 224)), (360, (360, 252)), (480, (480, 336))])
def test_a_card_comes_in_the_size_asked_for(width, size):
    assert card(1, width=width).image.size == size


def test_every_fact_occurs_and_the_portraits_labels_are_kept(drawn):
    for name, task in CARD_TASKS.items():
        assert {each.labels[name] for each in drawn} == set(task.choices)
    assert all({key: each.labels[key] for key in ATTRIBUTES} == ATTRIBUTES for each in drawn)


def test_what_is_printed_is_what_the_labels_say(monkeypatch):
    printed = []
    write = card_design.FlatCard._text

    def note(self, name, text, *rest):
        printed.append((name, text))
        write(self, name, text, *rest)

    monkeypatch.setattr(card_design.FlatCard, "_text", note)
    for seed in range(60):
        printed.clear()
        made = card((2, seed))
        words = {name: " ".join(text for key, text in printed if key == name) for name, _ in printed}
        assert words["department"].casefold() == made.labels["department"].casefold()
        assert words["gate"] == made.labels["gate"]
        month, year = made.labels["expiry"].split("/")
        name = {"06": "jun", "12": "dec"}[month]
        assert words["expiry"].casefold() in {made.labels["expiry"], f"{name} {year}"}
        assert {name: words[name] for name in TEXTS} == made.texts
        assert 1986 <= int(made.texts["birth date"][-4:]) <= 1996


def test_the_stripe_has_the_colour_of_its_label(drawn):
    """Return the stripe's colour by the hue in the middle of its place."""
    hues = defaultdict(list)
    for each in drawn:
        left, top, right, bottom = each.bounds("stripe")
        place = (round((left + right) / 2), round((top + bottom) / 2))
        hues[each.labels["stripe"]].append(each.image.convert("HSV").getpixel(place)[0])
    centres = {name: np.median(values) for name, values in hues.items() if name != "red"}
    order = sorted(centres, key=centres.__getitem__)
    assert order == ["orange", "yellow", "green", "blue", "purple"]
    for name, values in hues.items():
        centre = centres.get(name, 250)
        distances = [abs((value - centre + 128) % 256 - 128) for value in values]
        assert np.mean(np.array(distances) < 12) > 0.9, name


def test_the_portrait_is_where_it_is_said_to_be(drawn):
    for each in drawn:
        left, top, right, bottom = each.bounds("portrait")
        red, green, blue = each.image.getpixel((round((left + right) / 2), round((top + bottom) / 2)))
        assert min(red, blue) > green + 60  # the magenta of the face


def overlap(first, second):
    across = min(first[2], second[2]) - max(first[0], second[0])
    down = min(first[3], second[3]) - max(first[1], second[1])
    return min(across, down)


@pytest.mark.parametrize("layout", card_design.LAYOUTS, ids=lambda each: each.__name__.strip("_"))
def test_every_layout_keeps_all_fields_on_the_card_and_apart(layout, monkeypatch):
    monkeypatch.setattr(card_design, "LAYOUTS", (layout,))
    # The photograph takes most of the time and moves nothing on the card.
    monkeypatch.setattr(cards, "photograph", lambda _, flat, *rest: flat)
    for seed in range(60):
        made = card((3, seed))
        fields = {"name", "id number", "birth date", "department", "gate", "expiry"}
        assert set(made.boxes) == fields | {f"{name} caption" for name in fields} | {
            "portrait",
            "stripe",
            "header",
        }
        for left, top, right, bottom in made.boxes.values():
            assert left >= 0
            assert top >= 0
            assert right <= card_design.CARD_SIZE[0]
            assert bottom <= card_design.CARD_SIZE[1]
        for first, second in itertools.combinations(made.boxes, 2):
            assert overlap(made.boxes[first], made.boxes[second]) < 0.3, (seed, first, second)


@pytest.mark.parametrize("fonts", card_design._FONTS, ids=lambda each: each.regular)
def test_the_longest_value_fits_the_narrowest_place_in_every_font(fonts):
    widest = card_design.CARD_SIZE[0] - 2 * 8 - 14 - 98 - 10  # beside the widest stripe and portrait
    narrowest = widest / 2 - 3
    font = fonts.font(round(card_design._SMALLEST_VALUE * 20))
    values = [
        *CARD_TASKS["department"].choices,
        *cards._FIRST_NAMES,
        *cards._LAST_NAMES,
        "28 Mar 1988",
        "482-1936",
    ]
    for value in values:
        assert font.getlength(value.upper()) / 20 <= narrowest, value


def test_values_are_large_enough_to_read_and_stand_out(drawn):
    for each in drawn:
        for name in (*TEXTS, "department", "gate", "expiry"):
            left, top, right, bottom = (round(side) for side in each.bounds(name))
            assert bottom - top >= 6  # digits are about 0.73 of the font's size
            grey = np.asarray(each.image.convert("L").crop((left, top, right, bottom)), dtype=float)
            assert np.percentile(grey, 95) - np.percentile(grey, 5) > 60


def test_the_whole_card_lies_in_the_picture(drawn):
    for each in drawn:
        corners = np.array(each.corners)
        assert corners.min() >= 0
        assert (corners <= np.array(each.image.size)).all()


def test_a_face_of_another_shape_and_size_is_framed():
    for size in ((40, 40), (300, 200), (200, 300)):
        made = draw_card(np.random.default_rng(1), Image.new("RGB", size, (226, 24, 250)), ATTRIBUTES)
        left, top, right, bottom = made.bounds("portrait")
        assert right - left > 60
        assert bottom - top > 60


def test_missing_fonts_are_named_with_what_to_install(monkeypatch):
    card_design._font.cache_clear()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'langchain-vpp\[demo\]'"):
        card(1)


# -- the data set ----------------------------------------------------------------------------------------------------


def lines_of(folder):
    return [json.loads(line) for line in (folder / "data.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_data_set_is_read_back_as_it_was_drawn(faces, tmp_path):
    make_cards(tmp_path / "d", faces, train=30, val=4, test=6, seed=0, largest=320)
    dataset = load_dataset(tmp_path / "d")
    assert Counter(example.split for example in dataset.examples) == {"train": 30, "val": 4, "test": 6}
    assert set(dataset.private_attributes) == set(PORTRAIT_ATTRIBUTES)
    assert dataset.questions == tuple(task.text for task in CARD_TASKS.values())
    assert all(set(example.texts) == set(TEXTS) for example in dataset.examples)
    labels = {
        line.split(",")[0]: line.split(",")[1:] for line in (faces / "labels.csv").read_text().splitlines()
    }
    for example in dataset.examples:
        age, gender, race = labels[example.group]
        assert example.private == {"age_group": age, "gender": gender, "race": race.replace("_", " ")}
        with Image.open(tmp_path / "d" / example.image) as image:
            assert image.size == CARD_VIEW


def test_portraits_are_kept_apart_and_those_for_testing_stay_out_of_training(faces, tmp_path):
    make_cards(tmp_path / "d", faces, train=80, val=20, test=30, seed=0, largest=320)
    groups = defaultdict(set)
    for line in lines_of(tmp_path / "d"):
        groups[line["split"]].add(line["group"])
    for first, second in itertools.combinations(groups.values(), 2):
        assert not first & second
    assert all(group.startswith("train/") for group in groups["train"] | groups["val"])
    assert all(group.startswith("val/") for group in groups["test"])
    # With more cards than portraits, each portrait is used.
    assert {split: len(found) for split, found in groups.items()} == {
        split: len(found) for split, found in read_portraits(faces).items()
    }


def test_children_get_no_card(faces):
    portraits = [portrait for found in read_portraits(faces).values() for portrait in found]
    assert {portrait.attributes["age_group"] for portrait in portraits} == set(
        PORTRAIT_ATTRIBUTES["age_group"]
    )
    assert len(portraits) == 46


def test_same_seed_same_cards_and_a_larger_data_set_begins_with_the_smaller(faces, tmp_path):
    for name, train, seed in (("a", 3, 1), ("b", 3, 1), ("more", 5, 1), ("other", 3, 2)):
        make_cards(tmp_path / name, faces, train=train, val=1, test=1, seed=seed)
    a, b, more, other = (lines_of(tmp_path / name) for name in ("a", "b", "more", "other"))
    assert a == b
    assert a != other
    assert a[:3] == more[:3]
    for line in a:
        data = (tmp_path / "a" / line["image"]).read_bytes()
        assert data == (tmp_path / "b" / line["image"]).read_bytes()
        assert data == (tmp_path / "more" / line["image"]).read_bytes()


def test_sizes_vary_up_to_the_largest(faces, tmp_path):
    make_cards(tmp_path / "d", faces, train=24, val=1, test=1, seed=0, largest=400)
    widths = Counter(Image.open(tmp_path / "d" / line["image"]).width for line in lines_of(tmp_path / "d"))
    assert set(widths) == {320, 360, 400}
    assert widths[320] > widths[400]


def refuse(out, faces, match, **options):
    settings = {"train": 1, "val": 1, "test": 1, "seed": 0} | options
    with pytest.raises(DataError, match=match) as caught:
        make_cards(out, faces, **settings)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert not out.exists()
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (None, "No such file"),
        (b"\xff\xfe\x00", "not a table"),
        ("file,age_group,gender\ntrain/1.jpg,20-29,male\n", "no column race"),
        ("", "no column age_group, file, gender, race"),
        (HEAD + "train/1.jpg,20-29,unknown,White\n", "line 2: gender has a value"),
        (HEAD + "train/1.jpg,20-29,male\n", "line 2: race has a value"),
        (
            HEAD + "train/1.jpg,20-29,male,White\ntrain/9.jpg,20-29,male,White\n",
            "line 3: there is no picture",
        ),
        (
            HEAD + "train/1.jpg,20-29,male,White\ntrain/1.jpg,20-29,male,White\n",
            "line 3: a file that an earlier",
        ),
        (HEAD + "train/../../outside.jpg,20-29,male,White\n", "line 2: the file must lie below"),
        (HEAD + "/outside.jpg,20-29,male,White\n", "line 2: the file must lie below"),
        (HEAD + "train/1.jpg,20-29,male,White\n", "no adult's portrait for"),
        (HEAD + "train/1.jpg,0-2,male,White\n", "no adult's portrait for train, val, test"),
    ],
    ids=str,
)
def test_a_bad_collection_is_refused_and_nothing_is_left(tmp_path, text, match):
    folder = tmp_path / "faces"
    (folder / "train").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "train" / "1.jpg")
    if isinstance(text, bytes):
        (folder / "labels.csv").write_bytes(text)
    elif text is not None:
        (folder / "labels.csv").write_text(text)
    message = refuse(tmp_path / "d", folder, match)
    assert "\n" not in message


def test_a_portrait_that_cannot_be_decoded_leaves_nothing_behind(faces, tmp_path, monkeypatch):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    opened = []
    open_portrait = Portrait.open

    def break_the_third(self):
        opened.append(self)
        return open_portrait(self._replace(path=broken) if len(opened) == 3 else self)

    monkeypatch.setattr(Portrait, "open", break_the_third)
    refuse(tmp_path / "d", faces, r"broken\.jpg can't be used as a portrait", train=5)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"largest": 319}, "at least 320 pixels"),
        ({"train": -1}, "must not be negative"),
        ({"seed": -1}, "must not be negative"),
        ({"train": 0, "val": 0, "test": 0}, "one size must be positive"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(faces, tmp_path, options, match):
    refuse(tmp_path / "d", faces, match, **options)


def test_a_folder_with_something_in_it_is_left_alone(faces, tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="not empty"):
        make_cards(tmp_path, faces, train=1, val=1, test=1, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


# -- the command -----------------------------------------------------------------------------------------------------


def test_the_command_writes_cards_and_says_what(faces, tmp_path):
    from typer.testing import CliRunner

    command = ["sandbox", "make-cards", str(tmp_path / "d"), "--faces", str(faces), "--json"]
    sizes = ["--train", "3", "--val", "1", "--test", "1", "--largest", "320"]
    result = CliRunner().invoke(app, [*command, *sizes])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["train"] == 3
    assert len(lines_of(tmp_path / "d")) == 5
    again = CliRunner().invoke(app, [*command, *sizes])
    assert again.exit_code == 2
    assert "not empty" in again.stderr
