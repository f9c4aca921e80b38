"""Small data sets in the exact folder formats in which the large ones are published."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

SEVEN = [
    "a4_gender", "a9_face_complete", "a10_face_partial", "a12_semi_nudity", "a17_color", "a64_rel_personal",
    "a65_rel_social",
]  # fmt: skip


def picture(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = random.Random(f"{path.parent.name}/{shade}").randbytes(16 * 8 * 3)
    Image.frombytes("RGB", (16, 8), pixels).save(path)


def written(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def csv(folder: Path) -> None:
    rows = ["image,question,answer,choices,split,group,private.gender,text.name"]
    for number, split in enumerate(("train", "train", "validation", "test")):
        picture(folder / f"{number}.png", number)
        gender = "fm"[number % 2]
        rows.append(f"{number}.png,Colour?,red,red|blue,{split},g{number},{gender},Ada {number}")
    written(folder / "data.csv", "\n".join(rows))


def folder(root: Path) -> None:
    for number, (split, of) in enumerate((s, c) for s in ("train", "val", "test") for c in ("cat", "dog")):
        picture(root / split / of / f"{number}.png", number)


def instances(numbers: list[int], part: str, year: str) -> dict[str, object]:
    name = "COCO_{}2014_{:012}.jpg" if year == "2014" else "{1:012}.jpg"
    images = [{"id": number, "file_name": name.format(part, number)} for number in numbers]
    boxes = [
        {"image_id": number, "category_id": category, "area": 10.0 * category, "bbox": [0, 0, 4, 4]}
        for number in numbers
        for category in ([1] * (number % 3) + [2])
    ]
    names = ["person", "vase", "dog", "cat", "kite"]
    return {
        "images": images,
        "annotations": boxes,
        "categories": [{"id": index, "name": each} for index, each in enumerate(names, 1)],
    }


def coco(root: Path) -> None:
    for part, numbers in (("train", [*range(1, 30)]), ("val", [31, 32])):
        for number in numbers:
            picture(root / f"{part}2017/{number:012}.jpg", number)
        written(root / f"annotations/instances_{part}2017.json", instances(numbers, part, "2017"))


def _vqa(root: Path, prefix: str) -> None:
    for part, numbers in (("train", [*range(1, 30)]), ("val", [*range(31, 37)])):
        questions, annotations = [], []
        for number in numbers:
            picture(root / f"{part}2014/COCO_{part}2014_{number:012}.jpg", number)
            questions.append({"image_id": number, "question": "What is it for?", "question_id": number * 10})
            answers = ["sitting"] * 7 + ["rest"] * 3
            annotations.append(
                {
                    "image_id": number,
                    "question_id": number * 10,
                    "answers": [{"answer": each, "answer_id": 1} for each in answers],
                }
            )
        written(
            root / f"{prefix}OpenEnded_mscoco_{part}2014_questions.json",
            {"questions": questions, "data_subtype": f"{part}2014"},
        )
        written(root / f"{prefix}mscoco_{part}2014_annotations.json", {"annotations": annotations})
        written(root / f"annotations/instances_{part}2014.json", instances(numbers, part, "2014"))


def vqa(root: Path) -> None:
    _vqa(root, "v2_")


def okvqa(root: Path) -> None:
    _vqa(root, "")


def okvqa_with_privacy(root: Path) -> None:
    okvqa(root)
    name = "COCO_val2014_000000000031.jpg"
    labels = [
        {"image": name, "id": 1, "choice": {"choices": ["a17_color", "a4_gender"]}},
        {"image": name.replace("31", "32"), "id": 2, "choice": "a4_gender"},
        *({"image": name.replace("31", str(number)), "id": number} for number in range(33, 37)),
    ]
    written(root / "annotations.json", labels)


def vispr(root: Path) -> None:
    for part, numbers in (("train2017", range(8)), ("val2017", range(8, 16)), ("test2017", range(16, 24))):
        for number in numbers:
            name = f"2017_{number:08}"
            picture(root / f"images/{part}/{name}.jpg", number)
            labels = SEVEN[: number % 8] + (["a59_sports"] if number % 2 else ["a0_safe"])
            content = {"image_path": f"images/{part}/{name}.jpg", "labels": labels}
            written(root / f"annotations/{part}/{name}.json", content)


def fairface(root: Path) -> None:
    for part, count in (("train", 30), ("val", 4)):
        rows = ["file,age,gender,race,service_test"]
        for number in range(count):
            picture(root / f"{part}/{number}.jpg", number + (100 if part == "val" else 0))
            gender, race = ("Female", "Male")[number % 2], ("East Asian", "Black")[number // 2 % 2]
            rows.append(f"{part}/{number}.jpg,{('20-29', '3-9')[number % 2]},{gender},{race},True")
        written(root / f"fairface_label_{part}.csv", "\n".join(rows))


def celeba(root: Path) -> None:
    names = ["Eyeglasses", "Male", "Smiling", "Wearing_Hat", "Young"]
    rows, parts, people = ["24", " ".join(names)], [], []
    for number in range(24):
        file = f"{number + 1:06}.jpg"
        picture(root / "img_align_celeba" / file, number)
        rows.append(
            f"{file} " + " ".join("1" if (number + bit) % (bit + 2) == 0 else "-1" for bit in range(5))
        )
        parts.append(f"{file} {number // 8}")
        people.append(f"{file} {7 + number // 4}")
    written(root / "list_attr_celeba.txt", "\n".join(rows))
    written(root / "list_eval_partition.txt", "\n".join(parts))
    written(root / "identity_CelebA.txt", "\n".join(people))


def _film(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"RIFF" + str(path).encode())


def hmdb51(root: Path) -> None:
    for of in ("brush_hair", "wave"):
        lines = []
        for number in range(12):
            name = f"Film_{number}_{of}_u_nm_np1_ba_goo_0.avi"
            _film(root / of / name)
            lines.append(f"{name} {(1, 2, 0, 1)[number % 4]} ")
        for split in (1, 2, 3):
            written(root / f"testTrainMulti_7030_splits/{of}_test_split{split}.txt", "\n".join(lines))


def ucf101(root: Path) -> None:
    names = ["ApplyEyeMakeup", "YoYo"]
    lists = root / "ucfTrainTestlist"
    written(lists / "classInd.txt", "\n".join(f"{index} {name}" for index, name in enumerate(names, 1)))
    train, test = [], []
    for index, name in enumerate(names, 1):
        for group in range(1, 25):
            video = f"{name}/v_{name}_g{group:02}_c01.avi"
            _film(root / "UCF-101" / video)
            (test.append(video) if group < 8 else train.append(f"{video} {index}"))
    for split in (1, 2, 3):
        written(lists / f"trainlist0{split}.txt", "\n".join(train))
        written(lists / f"testlist0{split}.txt", "\n".join(test))


def pa_hmdb51(root: Path) -> None:
    for of in ("pullup", "wave"):
        content = {}
        for number in range(8):
            name = f"Film_{number}_{of}_f_cm_np1_ba_med_0.avi"
            _film(root / of / name)
            content[name] = {
                "review": True,
                "note": "",
                "face": [[0, 20, 0], [21, 78, 2]],
                "gender": [[0, 78, number % 2]],
                "skin_color": [[0, 78, [1, 3]]],
            }
        written(root / f"PrivacyAttributes/{of}.json", content)


def screenleak(root: Path) -> None:
    lines = []
    for number in range(12):
        picture(root / f"images/det_{number}.png", number)
        spans = [{"label": "private_person", "bbox": [1, 1, 4, 4], "text": "Esme Rashid"}] * (number % 3)
        template = ("confluence_page", "slack")[number % 2]
        lines.append(
            {
                "id": f"det_{number}",
                "image_path": f"images/det_{number}.png",
                "template": template,
                "spans": spans,
            }
        )
    written(root / "annotations.jsonl", "\n".join(map(json.dumps, lines)))
