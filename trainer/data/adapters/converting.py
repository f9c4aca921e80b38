"""The table of formats, and the one way in which all of them are written."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from langchain_vpp.errors import DataError, VPPError
from trainer.data.adapters import attributes, coco, hugging_face, plain, screens, videos, vqa
from trainer.data.adapters.format import Adapter, Options
from trainer.data.format import SPLITS, read_line
from trainer.data.groups import assign_splits
from trainer.data.index import file_digest
from trainer.data.making import write_index
from trainer.data.pictures import link_or_copy, write_pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from trainer.data.adapters.format import Item

ADAPTERS: Final[Mapping[str, Adapter]] = MappingProxyType({
    **plain.ADAPTERS, **hugging_face.ADAPTERS, **coco.ADAPTERS, **vqa.ADAPTERS, **attributes.ADAPTERS,
    **videos.ADAPTERS, **screens.ADAPTERS,
})  # fmt: skip
"""Name of a format -> its reader."""


class Converted(NamedTuple):
    """Outcome of a conversion.

    Attributes:
        splits: Pictures of each split.
        attributes: Private attributes that are labelled.
        notes: What the user has to know, a sentence without a full stop each.
    """

    splits: Mapping[str, int]
    attributes: tuple[str, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {"splits": dict(self.splits), "attributes": list(self.attributes), "notes": list(self.notes)}


def convert_data(
    name: str,
    source: Path,
    out: Path,
    options: Mapping[str, str],
    *,
    progress: Callable[[int], object] = lambda done: None,  # noqa: ARG005  named for callers
) -> Converted:
    """Convert a data set. Its files are linked or copied byte by byte, so that figures are those of the published ones.

    Args:
        name: Name of the format.
        source: Folder or file, as published.
        out: A folder that is missing or empty.
        options: Options of the format.
        progress: Called with the number of pictures that are done.

    Raises:
        DataError: If there is no such format or option, a file is missing or not as it is published, the folder is not
            empty, or the data set holds nothing.
        MissingExtraError: If the format needs a package that is missing.
    """
    adapter = ADAPTERS.get(name)
    if adapter is None:
        raise DataError(
            f"nothing was converted: there is no format {name!r}. Choose from {', '.join(ADAPTERS)}."
        )
    if unknown := sorted(set(options) - set(adapter.options)):
        known = ", ".join(adapter.options) or "none"
        raise DataError(f"nothing was converted: {name} has no option {unknown[0]!r}, but {known}.")
    if not source.exists():
        raise DataError(f"nothing was converted: there is no {source}.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"nothing was converted: {out} is not an empty folder. Choose another.")
    out.mkdir(parents=True, exist_ok=True)
    try:
        return _written(name, _items(name, adapter, source, Options(options)), out, adapter.notes, progress)
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)  # it was empty
        raise


def _written(
    name: str, found: Iterator[Item], out: Path, notes: Sequence[str], progress: Callable[[int], object]
) -> Converted:
    """Write a data set into an empty folder."""
    items: dict[str, Item] = {}
    for number, item in enumerate(found, 1):
        _line(item, name)  # refuses a fault before its file is written
        if isinstance(item.file, Path):
            link_or_copy(item.file, out / item.name)
        else:
            write_pixels(item.file, out / item.name)
        items[item.name] = item._replace(file=out / item.name)
        progress(number)
    if not items:
        raise DataError(f"nothing was converted: there is no picture that {name} can use.")
    whole = _with_splits(items)
    copies = _left_out(out, whole)
    write_index(out, [_line(item, name) for item in whole.values()])
    counts: dict[str, int] = {split: sum(item.split == split for item in whole.values()) for split in SPLITS}
    labelled = sorted({attribute for item in whole.values() for attribute in item.private})
    doubts = _doubts([*whole.values()], counts, copies)
    return Converted(counts, tuple(labelled), (*notes, *doubts))


def _items(name: str, adapter: Adapter, source: Path, options: Options) -> Iterator[Item]:
    """Read a published data set, and turn what is not as it should be into an error that says where.

    Raises:
        DataError: If a file has another form than the published one.
    """
    items = adapter.load(source, options)
    while True:
        try:
            item = next(items, None)
        except VPPError:
            raise
        except LookupError as error:
            failure = (
                f"there is no {error.args[0]!r} where it should be" if error.args else "something is missing"
            )
        except (TypeError, ValueError, AttributeError):
            failure = "a value is of another kind than it should be"
        else:
            if item is None:
                return
            yield item
            continue
        break
    raise DataError(
        f"nothing was converted: {source} is not as {name} is published: {failure}. Get the data set again, or convert "
        "it to csv."
    )


def _with_splits(items: Mapping[str, Item]) -> dict[str, Item]:
    """Draw the splits of items that have none, whole groups at once."""
    missing = [item for item in items.values() if item.split is None]
    groups = [item.group or item.name for item in missing]
    drawn = assign_splits(groups, {}, seed=0) if missing else []
    return {
        **items,
        **{item.name: item._replace(split=split) for item, split in zip(missing, drawn, strict=True)},
    }


def _line(item: Item, name: str) -> str:
    fields: dict[str, Any] = {"split": item.split or "train"}
    if item.group is not None:
        fields["group"] = item.group
    fields |= {"tasks": [dict(task) for task in item.tasks], "private": dict(item.private)}
    if item.texts:
        fields["texts"] = dict(item.texts)
    fault = read_line(json.dumps({"image": item.name, **fields}, ensure_ascii=False).encode())
    if isinstance(fault, str):
        raise DataError(f"nothing was converted: {name} has a fault at {item.name}: {fault}.")
    return json.dumps({"video" if item.is_video else "image": item.name, **fields}, ensure_ascii=False)


def _left_out(out: Path, items: dict[str, Item]) -> int:
    """Leave out files that equal another one: published data sets have some, in two splits or with two labels.

    The copy of the test split stays, so that what is measured is what others measure.
    """
    by_size: dict[int, list[str]] = defaultdict(list)
    for name in sorted(items, key=lambda name: SPLITS.index(items[name].split or "train"), reverse=True):
        by_size[(out / name).stat().st_size].append(name)
    copies = []
    for names in by_size.values():
        seen: set[str] = set()
        for name in names if len(names) > 1 else ():
            digest = file_digest(out / name)
            if digest in seen:
                copies.append(name)
            seen.add(digest)
    for name in copies:
        del items[name]
        (out / name).unlink()
    return len(copies)


def _doubts(items: Sequence[Item], splits: Mapping[str, int], copies: int) -> list[str]:
    notes = []
    if copies:
        notes.append(
            f"{copies} files that equal another one of the data set were left out; the one of the later split stays"
        )
    if empty := [split for split, count in splits.items() if not count]:
        notes.append(f"there is no picture in {', '.join(empty)}: add some before you train")
    if not any(item.private for item in items):
        notes.append("no private attribute is labelled: add some under 'private' before you train")
    return notes
