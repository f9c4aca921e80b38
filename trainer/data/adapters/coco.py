"""COCO's instances: ``coco``. Also the number of people in a picture, which stands in for a private attribute."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

from langchain_vpp.errors import DataError
from trainer.data.adapters.format import Adapter, Item, existing, held_out, read_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from trainer.data.adapters.format import Options
    from trainer.data.format import Split

_QUESTION: Final = "What is the largest object in the picture?"
_CHOICES: Final = 4
PEOPLE_NOTE: Final = (
    "COCO labels nothing private: 'people' (none, one, several), counted from its boxes, stands in for it"
)


def load_instances(source: Path, options: Options) -> Iterator[Item]:
    """Read ``annotations/instances_{train,val}YEAR.json`` and the pictures in ``{train,val}YEAR``.

    COCO's val is the test split, and a tenth of its train is val. The question is about the largest object, with three
    classes that the picture does not show as other choices.

    Raises:
        DataError: If a file is missing.
    """
    year = options.one_of("year", ("2017", "2014"))
    found = [
        part for part in ("train", "val") if (source / f"annotations/instances_{part}{year}.json").is_file()
    ]
    if not found:
        raise DataError(
            f"nothing was converted: {source} lacks annotations/instances_train{year}.json and "
            f"annotations/instances_val{year}.json. Give the folder that holds annotations/ and the pictures."
        )
    for part in found:
        path = source / f"annotations/instances_{part}{year}.json"
        content = read_json(path)
        names = {each["id"]: each["name"] for each in content["categories"]}
        boxes: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
        for each in content["annotations"]:
            boxes[each["image_id"]].append(each)
        for image in content["images"]:
            own = boxes[image["id"]]
            if not own:
                continue
            file = image["file_name"]
            largest = names[max(own, key=lambda each: each["area"])["category_id"]]
            shown = {names[each["category_id"]] for each in own}
            choices = [largest, *_others(sorted(set(names.values()) - shown), file)]
            yield Item(
                existing(source, f"{part}{year}/{file}", path.name),
                f"images/{file}",
                split_of(part, file),
                [{"question": _QUESTION, "answer": largest, "choices": sorted(choices)}],
                {"people": count_people(own, names)},
            )


def split_of(part: str, key: str) -> Split:
    """Return the split of a picture of COCO's train or val: val is for measuring, a tenth of train for validation."""
    if part == "val":
        return "test"
    return "val" if held_out(key, 0.1) else "train"


def count_people(boxes: list[Mapping[str, Any]], names: Mapping[int, str]) -> str:
    """Count people in words: ``none``, ``one`` or ``several``."""
    count = Counter(names[each["category_id"]] for each in boxes)["person"]
    return ("none", "one")[count] if count < 2 else "several"


def _others(names: list[str], key: str) -> list[str]:
    """Choose a few names by a digest, the same ones in every conversion."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{key}/{name}".encode()).hexdigest())[
        : _CHOICES - 1
    ]


ADAPTERS: Final = {
    "coco": Adapter(
        load_instances,
        "COCO's instances, with a question about the largest object",
        {"year": "2017 (default) or 2014"},
        (PEOPLE_NOTE,),
    )
}
