"""ScreenLeak and other folders with ``annotations.jsonl``: ``screenleak``.

``vpp evaluate --attack words`` reads such folders as they are. A conversion is for training and for questions.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from trainer.data.adapters.format import Adapter, Item, require
from trainer.data.annotated import load_annotated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trainer.data.adapters.format import Options

_QUESTION: Final = "Which kind of screen is it?"


def load_screens(source: Path, options: Options) -> Iterator[Item]:
    """Read annotated screens: the layout is asked for, the private spans are private texts.

    Pictures of one layout are not kept together: a protector of words is made for layouts, not for pictures.

    Raises:
        DataError: If ``annotations.jsonl`` or a picture is missing.
    """
    del options
    require(source, "annotations.jsonl")
    pictures = load_annotated(source)
    kinds = sorted({picture.kind.replace("_", " ") for picture in pictures})
    for picture in pictures:
        counts, texts = Counter[str](), {}
        for span in picture.private:
            counts[span.kind] += 1
            name = span.kind if counts[span.kind] == 1 else f"{span.kind} {counts[span.kind]}"
            texts[name] = span.text
        task = {"question": _QUESTION, "answer": picture.kind.replace("_", " "), "choices": kinds}
        name = picture.path.relative_to(source).as_posix()
        yield Item(picture.path, name, None, [task], {"private text": "yes" if texts else "no"}, texts=texts)


ADAPTERS: Final = {
    "screenleak": Adapter(
        load_screens,
        "screens with annotated private text, such as ScreenLeak's",
        {},
        ("the layout stands in for a question; splits are drawn, because the sample has none",),
    )
}
