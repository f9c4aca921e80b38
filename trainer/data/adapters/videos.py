"""Videos of actions: ``hmdb51``, ``ucf101`` and ``pa-hmdb51``. Lines name a ``video`` in place of an image."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from langchain_vpp.errors import DataError
from trainer.data.adapters.format import Adapter, Item, existing, held_out, read_json, read_lines, require

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from trainer.data.adapters.format import Options
    from trainer.data.format import Split

_QUESTION: Final = "What is the person doing?"
_HMDB_SPLITS: Final = "testTrainMulti_7030_splits"
_USE: Final[Mapping[str, Split | None]] = {"1": "train", "2": "test", "0": None}
_PRIVATE: Final = ("face", "gender", "nudity", "relationship", "skin_color")


def load_hmdb51(source: Path, options: Options) -> Iterator[Item]:
    """Read HMDB51: ``testTrainMulti_7030_splits/CLASS_test_splitN.txt`` and ``CLASS/video.avi``.

    Raises:
        DataError: If a file is missing.
    """
    number = options.one_of("split", ("1", "2", "3"))
    (lists,) = require(source, _HMDB_SPLITS)
    files = sorted(lists.glob(f"*_test_split{number}.txt"))
    if not files:
        raise DataError(f"nothing was converted: {lists} lacks CLASS_test_split{number}.txt.")
    classes = [path.name.removesuffix(f"_test_split{number}.txt") for path in files]
    for path, of in zip(files, classes, strict=True):
        for line in read_lines(path):
            video, use = line.rsplit(maxsplit=1)
            named = _USE.get(use)
            if named is not None:
                file = existing(source, f"{of}/{video}", path.name)
                yield _video((file, f"{of}/{video}"), named, (of, classes), _clip_group(video))


def load_ucf101(source: Path, options: Options) -> Iterator[Item]:
    """Read UCF101: ``ucfTrainTestlist`` with ``classInd.txt``, ``trainlist0N.txt``, ``testlist0N.txt``; ``UCF-101``.

    Raises:
        DataError: If a file is missing.
    """
    number = options.one_of("split", ("1", "2", "3"))
    classes_file, train, test, _ = require(
        source,
        "ucfTrainTestlist/classInd.txt",
        f"ucfTrainTestlist/trainlist0{number}.txt",
        f"ucfTrainTestlist/testlist0{number}.txt",
        "UCF-101",
    )
    names = [line.split(maxsplit=1)[1] for line in read_lines(classes_file)]
    parts: tuple[tuple[Path, Split], ...] = ((train, "train"), (test, "test"))
    for path, named in parts:
        for line in read_lines(path):
            video = line.split()[0]
            of = video.partition("/")[0]
            file = existing(source, f"UCF-101/{video}", path.name)
            # v_ApplyEyeMakeup_g08_c01: all clips of group 8 were cut from one film.
            yield _video((file, video), named, (of, names), video.rpartition("_c")[0])


def load_pa_hmdb51(source: Path, options: Options) -> Iterator[Item]:
    """Read PA-HMDB51: ``PrivacyAttributes/CLASS.json``, and HMDB51's videos in ``CLASS/video.avi``.

    Each attribute has the value that covers the most frames of a clip.

    Raises:
        DataError: If a file is missing.
    """
    del options
    (folder,) = require(source, "PrivacyAttributes")
    files = sorted(folder.glob("*.json"))
    if not files:
        raise DataError(f"nothing was converted: {folder} lacks CLASS.json.")
    classes = [path.stem for path in files]
    for path, of in zip(files, classes, strict=True):
        for video, spans in read_json(path).items():
            private = {name: _most_frames(spans[name]) for name in _PRIVATE if spans.get(name)}
            group = _clip_group(video)
            file = existing(source, f"{of}/{video}", path.name)
            yield _video((file, f"{of}/{video}"), None, (of, classes), group, private)


def _video(
    place: tuple[Path, str],
    named: Split | None,
    action: tuple[str, Sequence[str]],
    group: str,
    private: Mapping[str, str] | None = None,
) -> Item:
    """Make the item of a clip, from its file and name, split, action among all, film and private attributes."""
    (file, name), (of, classes) = place, action
    shown = [each.replace("_", " ") for each in classes]
    task: dict[str, Any] = {"question": _QUESTION, "answer": of.replace("_", " ")}
    if len(shown) > 1:
        task["choices"] = shown
    split: Split | None = "val" if named == "train" and held_out(group, 0.1) else named
    return Item(file, f"videos/{name}", split, [task], private or {}, group, is_video=True)


def _clip_group(video: str) -> str:
    """Name the film that a clip of HMDB51 was cut from: its name without view, quality and number.

    The end of a name is action, visible body, camera, people, viewpoint, quality and number of the clip.
    """
    return video.removesuffix(".avi").rsplit("_", 6)[0]


def _most_frames(spans: Sequence[Sequence[Any]]) -> str:
    frames = Counter[str]()
    for begin, end, value in spans:
        for each in value if isinstance(value, list) else (value,):
            frames[str(each)] += end - begin + 1
    return frames.most_common(1)[0][0]


_SPLIT: Final = {"split": "1 (default), 2 or 3, as published"}
_NOTE: Final = "a tenth of train, by films, is val"
ADAPTERS: Final = {
    "hmdb51": Adapter(load_hmdb51, "HMDB51: 51 actions, three splits", _SPLIT, (_NOTE,)),
    "ucf101": Adapter(load_ucf101, "UCF101: 101 actions, three splits", _SPLIT, (_NOTE,)),
    "pa-hmdb51": Adapter(
        load_pa_hmdb51,
        "PA-HMDB51: clips of HMDB51 with private attributes",
        {},
        ("each attribute has the value of the most frames; splits are drawn by films",),
    ),
}
