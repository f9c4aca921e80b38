"""Outputs of ``vpp evaluate``: the report as JSON, as a page, and on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from langchain_vpp.cli.display import console, print_json
from langchain_vpp.cli.options import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from trainer.data.dataset import Dataset
    from trainer.evaluation.protocols import Protocol
    from trainer.evaluation.results import Report


class Shown(NamedTuple):
    """Pictures that a page shows.

    Attributes:
        folder: The artifact, which protects them.
        dataset: The data; its test pictures are shown.
        presets: Presets of the artifact, whose levels are shown.
        levels: Levels to show if there are no presets.
    """

    folder: Path
    dataset: Dataset
    presets: Mapping[str, float]
    levels: Sequence[float]


class Outputs(NamedTuple):
    """Files and prints that the user asks for.

    Attributes:
        out: File for the report, JSON.
        html: File for the report as a page, or ``None``.
        with_originals: Show unprotected test pictures in the page, too.
        as_json: Print the report on stdout.
    """

    out: Path
    html: Path | None
    with_originals: bool
    as_json: bool

    @property
    def ledger(self) -> Path:
        """File of the paid queries, beside the report."""
        return self.out.with_suffix(".ledger.sqlite")

    def check(self) -> None:
        """Refuse options that contradict each other.

        Raises:
            InputError: If they do.
        """
        if self.with_originals and self.html is None:
            raise InputError("nothing was measured: --with-originals is about the page. Give --html.")
        if self.html is not None and self.html.resolve() == self.out.resolve():
            raise InputError("nothing was measured: --out and --html are the same file. Give two.")

    def prepare(self) -> None:
        """Make the folders of the files, before the evaluation, which takes long.

        Raises:
            InputError: If a file is a folder.
            OSError: If a folder can't be made.
        """
        for path in filter(None, (self.out, self.html)):
            check_file(path)

    def show(self, report: Report, shown: Shown, benchmark: Protocol | None = None) -> None:
        """Write the files, and show the report.

        Args:
            report: The report.
            shown: The pictures of the page.
            benchmark: A published benchmark, whose row is shown too.
        """
        from trainer.reporting.files import save_json  # noqa: PLC0415
        from trainer.reporting.tables import evaluation_tables  # noqa: PLC0415
        from trainer.reporting.terminal import for_terminal  # noqa: PLC0415

        save_json(report, self.out)
        if self.html is not None:
            self._save_page(self.html, report, shown)
        if self.as_json:
            print_json(report.model_dump(mode="json"))
        for table in evaluation_tables(report):
            console().print(for_terminal(table))
        if benchmark is not None:
            from trainer.reporting.protocols import protocol_table  # noqa: PLC0415

            console().print(for_terminal(protocol_table(report, shown.dataset, benchmark)))

    def _save_page(self, html: Path, report: Report, shown: Shown) -> None:
        from langchain_vpp.artifact import load_engine  # noqa: PLC0415
        from trainer.reporting.html import save_html  # noqa: PLC0415
        from trainer.reporting.pictures import picture_rows  # noqa: PLC0415

        levels = sorted(set(shown.presets.values()) or set(shown.levels))
        engine = load_engine(shown.folder)
        pictures = picture_rows(shown.dataset, engine, levels, {}, originals=self.with_originals)
        save_html(report, html, presets=shown.presets, pictures=pictures)


def check_file(path: Path) -> None:
    """Make the folder of a report before an evaluation, which takes long.

    Raises:
        InputError: If the file is a folder.
        OSError: If its folder can't be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise InputError(f"nothing was measured: {path} is a folder. Give a file for the report.")


def read_protocol(name: str | None) -> Protocol | None:
    """Read the option ``--protocol``.

    Raises:
        DataError: If there is no such benchmark.
    """
    if name is None:
        return None
    from trainer.evaluation.protocols import protocol_named  # noqa: PLC0415  loads torch

    return protocol_named(name)
