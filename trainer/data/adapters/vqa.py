"""VQA v2 and OK-VQA, with the answers of all annotators: ``vqa`` and ``okvqa``.

The public privacy labels of OK-VQA cover pictures of its val split that show people, everyday life, sports and
recreation (Boundary Probing for Input Privacy Protection When Using LMM Services, ICCV 2025): ``annotations.json`` of
that publication, put beside the questions.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

from langchain_vpp.errors import DataError
from trainer.data.adapters.attributes import SEVEN, labels_of
from trainer.data.adapters.coco import count_people, split_of
from trainer.data.adapters.format import Adapter, Item, existing, read_json, require

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from trainer.data.adapters.format import Options

_FILES: Final[Mapping[str, tuple[str, str]]] = {
    "vqa": ("v2_OpenEnded_mscoco_{}2014_questions.json", "v2_mscoco_{}2014_annotations.json"),
    "okvqa": ("OpenEnded_mscoco_{}2014_questions.json", "mscoco_{}2014_annotations.json"),
}
_LABELS: Final = "annotations.json"
_DEVIATIONS: Final = (
    "val as published is the test split, and a tenth of train by pictures is val",
    "scores are min(1, agreeing / 3) over all ten answers, without the official script's average over nine of them",
)


def load_vqa(source: Path, options: Options) -> Iterator[Item]:
    """Read VQA v2; see :func:`_load`."""
    return _load("vqa", source, options)


def load_okvqa(source: Path, options: Options) -> Iterator[Item]:
    """Read OK-VQA; see :func:`_load`."""
    return _load("okvqa", source, options)


def _load(name: str, source: Path, options: Options) -> Iterator[Item]:
    """Read questions, answers and pictures, and whatever is known of the private in them.

    Private labels come from ``annotations.json`` of OK-VQA's privacy labels; then only the pictures that it labels are
    taken, and split anew. Else the number of people stands in, where COCO's ``instances_*2014.json`` lie in
    ``annotations``.
    """
    found = [part for part in ("train", "val") if (source / _FILES[name][0].format(part)).is_file()]
    if not found:
        missing = " and ".join(_FILES[name][0].format(part) for part in ("train", "val"))
        raise DataError(
            f"nothing was converted: {source} lacks {missing}. Give the folder with the questions."
        )
    few = options.text("pictures")
    if few and not few.isdigit():
        raise DataError("nothing was converted: the option pictures must be a number.")
    labels = _privacy_labels(source) if name == "okvqa" and (source / _LABELS).is_file() else None
    for part in found:
        questions, annotations = require(source, *(each.format(part) for each in _FILES[name]))
        answered = {each["question_id"]: each for each in read_json(annotations)["annotations"]}
        asked: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for each in read_json(questions)["questions"]:
            if each["question_id"] not in answered:
                raise DataError(
                    f"nothing was converted: {annotations} lacks question {each['question_id']} of {questions.name}."
                )
            asked[each["image_id"]].append(_task(each["question"], answered[each["question_id"]]))
        people = _people(source, part)
        for image_id in list(asked)[: int(few) if few else None]:
            file = f"COCO_{part}2014_{image_id:012}.jpg"
            if labels is not None and file not in labels:
                continue
            yield Item(
                existing(source, f"{part}2014/{file}", questions.name),
                f"images/{file}",
                split_of(part, file) if labels is None else None,
                _without_repeats(asked[image_id]),
                labels[file] if labels is not None else people.get(image_id, {}),
            )


def _task(question: str, annotation: Mapping[str, Any]) -> dict[str, Any]:
    answers = [each["answer"] for each in annotation["answers"]]
    usual = annotation.get("multiple_choice_answer") or Counter(answers).most_common(1)[0][0]
    return {"question": question, "answer": usual, "answers": answers}


def _without_repeats(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep the first of several questions that read alike: annotators of a picture may have asked the same."""
    return list({task["question"].casefold().strip(" ?"): task for task in reversed(tasks)}.values())[::-1]


def _people(source: Path, part: str) -> dict[int, dict[str, str]]:
    path = source / f"annotations/instances_{part}2014.json"
    if not path.is_file():
        return {}
    content = read_json(path)
    names = {each["id"]: each["name"] for each in content["categories"]}
    boxes: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for each in content["annotations"]:
        boxes[each["image_id"]].append(each)
    return {each["id"]: {"people": count_people(boxes[each["id"]], names)} for each in content["images"]}


def _privacy_labels(source: Path) -> dict[str, dict[str, str]]:
    """Read the seven attributes of each picture, ``yes`` or ``no``."""
    labels = {}
    for entry in read_json(source / _LABELS):
        choice = entry.get("choice", ())
        named = (
            choice["choices"] if isinstance(choice, dict) else [choice] if isinstance(choice, str) else choice
        )
        labels[entry["image"]] = labels_of(named, SEVEN)
    return labels


_OPTIONS: Final = {"pictures": "most pictures of each published split, for a trial"}
ADAPTERS: Final = {
    "vqa": Adapter(load_vqa, "VQA v2, with the answers of ten annotators", _OPTIONS, _DEVIATIONS),
    "okvqa": Adapter(
        load_okvqa,
        "OK-VQA, with ten answers and its public privacy labels where they are",
        _OPTIONS,
        (
            *_DEVIATIONS,
            "with annotations.json only the pictures that it labels are taken, and split 70, 15, 15",
            "without it, 'people' (none, one, several) of COCO's instances stands in for private attributes",
        ),
    ),
}
