"""Data sets of the package ``datasets``, saved to disk (extra ``data``): ``hf``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from langchain_vpp import extras
from langchain_vpp.errors import DataError, ProtectionError
from langchain_vpp.images.codec import decode_image
from trainer.data.adapters.format import Adapter, Item, completed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from PIL import Image

    from trainer.data.adapters.format import Options
    from trainer.data.format import Split

_SPLITS: Final[Mapping[str, Split]] = {
    "train": "train", "training": "train", "validation": "val", "valid": "val", "val": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


def load_saved(source: Path, options: Options) -> Iterator[Item]:
    """Read what ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk`` wrote.

    Numbers of a ``ClassLabel`` become the names of their classes.

    Raises:
        DataError: If it is no such folder, or lacks a column.
        MissingExtraError: If the package is missing.
    """
    package = extras.load("datasets", extra="data", undone="nothing was converted")
    loaded = _loaded(package, source)
    parts = dict(loaded) if isinstance(loaded, dict) else {"": loaded}
    image, question = options.text("image", "image"), options.text("question", "question")
    answer, answers = options.text("answer", "answer"), options.text("answers")
    private, group = options.names("private", ()), options.text("group")
    asked = options.text("ask")
    wanted = [image, answer, *private, *([] if asked else [question]), *filter(None, (answers, group))]
    has = {_SPLITS.get(name.lower()) for name in parts}
    for name, part in parts.items():
        if missing := [column for column in wanted if column not in part.column_names]:
            raise DataError(
                f"nothing was converted: there is no column {missing[0]!r}, but {', '.join(part.column_names)}. "
                "Name the columns with --option."
            )
        undecoded = part.cast_column(image, package.Image(decode=False))
        for number, row in enumerate(undecoded):
            key = f"{name or 'all'}/{number}"
            names = {column: _text(part.features[column], row[column]) for column in (answer, *private)}
            task: dict[str, Any] = {"question": asked or str(row[question]), "answer": names[answer]}
            if choices := _names_of(part.features[answer]):
                task["choices"] = choices
            if answers:
                task["answers"] = [str(each) for each in row[answers]]
            owner = str(row[group]) if group else None
            yield Item(
                _picture(row[image], source, key),
                f"images/{name or 'all'}-{number:06}.png",
                completed(_SPLITS.get(name.lower()), has, owner or key),
                [task],
                {column: names[column] for column in private if names[column]},
                owner,
            )


def _loaded(package: Any, source: Path) -> Any:
    try:
        return package.load_from_disk(str(source))
    except (OSError, ValueError):
        pass
    raise DataError(
        f"nothing was converted: {source} lacks dataset_info.json or dataset_dict.json. Give a folder that "
        "save_to_disk of the package datasets wrote."
    )


def _picture(cell: Mapping[str, Any] | None, source: Path, key: str) -> Image.Image:
    failure = "it has no picture"
    if cell:
        try:
            data = cell["bytes"]
            if data is None:
                raise DataError(
                    f"nothing was converted: row {key} of {source} names a file instead of holding its picture. Embed "
                    "the pictures before you save the data set."
                )
            return decode_image(data)
        except ProtectionError as error:
            failure = str(error).rstrip(".")
    raise DataError(f"nothing was converted: row {key} of {source} can't be used: {failure}.")


def _text(feature: Any, value: Any) -> str:
    if value is None:
        return ""
    names = _names_of(feature)
    return names[value] if names and isinstance(value, int) and 0 <= value < len(names) else str(value)


def _names_of(feature: Any) -> list[str]:
    names: Sequence[str] | None = getattr(feature, "names", None)
    return list(names or ())


ADAPTERS: Final = {
    "hf": Adapter(
        load_saved,
        "a data set of the package datasets, saved with save_to_disk",
        {
            "image": "column of the picture (image)",
            "question": "column of the question (question)",
            "ask": "one question for all pictures, in place of a column",
            "answer": "column of the answer (answer); a ClassLabel gives choices",
            "answers": "column with the answers of several annotators",
            "private": "columns of private attributes, with commas",
            "group": "column of what must stay in one split",
        },
    )
}
