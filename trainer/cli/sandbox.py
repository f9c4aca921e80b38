"""``vpp sandbox``: drawn data and a local model, without a key or a network."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path  # noqa: TC003  typer reads annotations
from typing import TYPE_CHECKING, Annotated, Final, Literal, cast

import typer

from langchain_vpp.cli.display import bars, print_json, print_line
from langchain_vpp.cli.options import JsonOption  # noqa: TC001  typer reads annotations
from langchain_vpp.extras import require
from trainer.cli.options import not_served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from trainer.data.format import Split
    from trainer.sandbox.vision.photos.tasks import Topic

_SCENES: Final[Mapping[Split, int]] = {"train": 3000, "val": 300, "test": 400}
_DOCUMENTS: Final[Mapping[Split, int]] = {"train": 40, "val": 20, "test": 20}
"""Pictures of each split unless others are asked for."""

sandbox = typer.Typer(
    no_args_is_help=True, help="The embedded default: drawn data and a local model, no key, no network."
)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int, int], None]]:
    """Show a bar of what is drawn; it is told how many of all are done."""
    with bars() as shown:
        bar = shown.add_task("drawing", total=total, facts="")
        yield lambda done, _: shown.update(bar, completed=done)


@sandbox.command("make-data")
def make_data(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is missing or empty.")],
    *,
    task: Annotated[
        Literal["scenes", "invoices", "mail", "forms"],
        typer.Option("--task", help="Drawn scenes, or documents with questions (needs Chromium)."),
    ] = "scenes",
    train: Annotated[int | None, typer.Option("--train", min=0, help="Default: 3000, documents 40.")] = None,
    val: Annotated[int | None, typer.Option("--val", min=0, help="Default: 300, documents 20.")] = None,
    test: Annotated[int | None, typer.Option("--test", min=0, help="Default: 400, documents 20.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    as_json: JsonOption = False,
) -> None:
    """Draw a data set without real people."""
    from trainer.sandbox.drawing.documents.tasks import make_task_data  # noqa: PLC0415
    from trainer.sandbox.drawing.scenes import make_data as make_scenes  # noqa: PLC0415

    usual = _SCENES if task == "scenes" else _DOCUMENTS
    given: dict[Split, int | None] = {"train": train, "val": val, "test": test}
    sizes = {split: usual[split] if size is None else size for split, size in given.items()}
    with _progress(sum(sizes.values())) as tell:
        if task == "scenes":
            make_scenes(folder, **sizes, seed=seed, progress=tell)
        else:
            make_task_data(folder, task, sizes=sizes, seed=seed, progress=tell)
    if as_json:
        print_json({"data": str(folder), **{str(split): size for split, size in sizes.items()}, "seed": seed})


@sandbox.command("make-cards")
def make_cards(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is missing or empty.")],
    *,
    faces: Annotated[
        Path, typer.Option("--faces", help="Folder with labels.csv, train/ and val/, such as FairFace's.")
    ],
    train: Annotated[int, typer.Option("--train", min=0)] = 9000,
    val: Annotated[int, typer.Option("--val", min=0)] = 500,
    test: Annotated[int, typer.Option("--test", min=0)] = 1000,
    largest: Annotated[
        int, typer.Option("--largest", min=320, help="Width of the largest card, pixels.")
    ] = 480,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    as_json: JsonOption = False,
) -> None:
    """Draw staff cards with portraits of your own collection."""
    require("matplotlib", extra="demo")
    from trainer.sandbox.drawing.cards import make_cards as draw  # noqa: PLC0415

    sizes = {"train": train, "val": val, "test": test}
    with _progress(sum(sizes.values())) as tell:
        draw(folder, faces, **sizes, seed=seed, largest=largest, progress=tell)
    if as_json:
        print_json({"data": str(folder), **sizes, "largest": largest, "seed": seed})


@sandbox.command("make-films")
def make_films(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is missing or empty.")],
    *,
    train: Annotated[int, typer.Option("--train", min=0)] = 200,
    val: Annotated[int, typer.Option("--val", min=0)] = 50,
    test: Annotated[int, typer.Option("--test", min=0)] = 50,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    as_json: JsonOption = False,
) -> None:
    """Draw films of a person who does something, such as waving or sitting down; needs the extra `video`."""
    from trainer.sandbox.drawing.films import make_films as draw  # noqa: PLC0415

    sizes = {"train": train, "val": val, "test": test}
    with _progress(sum(sizes.values())) as tell:
        draw(folder, **sizes, seed=seed, progress=tell)
    if as_json:
        print_json({"data": str(folder), **sizes, "seed": seed})


@sandbox.command("make-pages")
def make_pages(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is missing or empty.")],
    *,
    count: Annotated[int, typer.Option("--count", min=1, help="Number of pictures.")] = 100,
    held_back: Annotated[
        bool, typer.Option("--held-back", help="Layouts that no policy was tuned with, for measuring.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    as_json: JsonOption = False,
) -> None:
    """Draw letters, screens and documents of invented people, with annotations of private text; needs Chromium."""
    require("jinja2", "markupsafe", extra="train")
    from trainer.sandbox.drawing.documents.folder import draw_folder  # noqa: PLC0415
    from trainer.sandbox.drawing.documents.pages import HELD_BACK, TUNED  # noqa: PLC0415

    with bars() as shown:
        bar = shown.add_task("drawing", total=count, facts="")
        draw_folder(
            folder,
            HELD_BACK if held_back else TUNED,
            count,
            seed=seed,
            progress=lambda done: shown.update(bar, completed=done),
        )
    if as_json:
        print_json({"data": str(folder), "count": count, "held_back": held_back, "seed": seed})


@sandbox.command("make-photos")
def make_photos(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A folder with photos.jsonl.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is missing or empty.")],
    *,
    faces: Annotated[
        Path | None,
        typer.Option("--faces", help="Portraits such as FairFace's, pasted in: their labels are private."),
    ] = None,
    topic: Annotated[
        list[str] | None,
        typer.Option("--topic", help="objects, people, counts, activity, place, colour, okvqa; repeatable."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    as_json: JsonOption = False,
) -> None:
    """Make a data set with questions about real photographs of your own collection."""
    from trainer.sandbox.drawing.photo_data import LEARNABLE  # noqa: PLC0415
    from trainer.sandbox.drawing.photo_data import make_photos as make  # noqa: PLC0415

    with bars() as shown:
        bar = shown.add_task("writing", total=None, facts="")
        sizes = make(
            folder,
            source,
            faces=faces,
            topics=cast("list[Topic]", topic) if topic else LEARNABLE,  # unknown ones are refused
            seed=seed,
            progress=lambda done, total: shown.update(bar, completed=done, total=total),
        )
    if as_json:
        print_json({"data": str(folder), **{str(split): size for split, size in sizes.items()}, "seed": seed})


@sandbox.command("serve")
def serve(
    *,
    host: Annotated[str, typer.Option("--host")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 picks a free one.")] = 8000,
    record: Annotated[
        Path | None, typer.Option("--record", help="File to which every request body is appended.")
    ] = None,
) -> None:
    """Serve the local models (`sandbox`, `sandbox-screens`, `sandbox-photos`, ...), OpenAI-compatible; prints where."""
    require("torch", "safetensors", "starlette", "uvicorn", extra="demo")
    from trainer.sandbox.server import serve as run  # noqa: PLC0415

    refusal = None
    try:
        run(host, port, record, on_ready=print_line)
    except OSError as error:
        refusal = not_served("the sandbox was not served", error, host, port)
    if refusal is not None:
        raise refusal
