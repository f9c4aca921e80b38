"""Runs of training as their folders tell, at any moment: going on, killed or done. Nothing is written."""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from langchain_vpp.artifact import read_manifest
from langchain_vpp.errors import ArtifactError
from trainer.evaluation.results import front_hypervolume
from trainer.reporting.chart import Series, Spot, draw_series
from trainer.statistics import ConfidenceInterval, wilson

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from langchain_vpp.artifact import FrontPoint, Manifest
    from trainer.reporting.chart import Chart

_QUIET_SECONDS: Final = 120
"""Time without news after which a run is said to be quiet."""
_CRITICAL: Final = 8
"""Queries that are shown."""
_CANDIDATES: Final = 400
"""Latest answered queries among which the critical ones are looked for."""
_MOST_BYTES: Final = 64 * 2**20
"""Longest file of metrics that is read."""
_PURPOSES: Final = {"train": "training", "validate": "validation"}


class Spending(NamedTuple):
    """Figures of a ledger."""

    queries: int
    answered: int
    dollars: float
    purposes: Mapping[str, int]
    """Purpose -> queries."""


class CriticalQuery(NamedTuple):
    """An answered query about which the chat model was hardly certain."""

    digest: str
    """Digest of the protected picture, by which :meth:`Run.picture` finds it."""
    prompt: str
    answer: str
    margin: float | None
    """Difference between the probabilities of the two likeliest first words; ``None`` if the model names none."""


class RunState(NamedTuple):
    """Everything that is shown of a run."""

    name: str
    state: str
    """``waiting``, ``training``, ``quiet`` or ``finished``."""
    news: float | None
    """Seconds since the folder last changed; ``None`` if it does not exist."""
    step: int
    hypervolumes: tuple[tuple[int, float], ...]
    """Finished steps and the area under the front that was measured then."""
    metrics: Mapping[str, float]
    """Latest metrics of a step."""
    front: tuple[Spot, ...]
    """Latest front that was measured; of a finished run, the front of its artifact."""
    area: float | None
    """Area under ``front``; ``None`` if none was measured."""
    spending: Spending | None
    critical: tuple[CriticalQuery, ...]
    warnings: tuple[str, ...]
    manifest: Manifest | None


class Run:
    """The folder of a run. Nothing in it is locked or written.

    Args:
        folder: The folder, which need not exist yet.
        name: Name of the run on the page.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name

    def state(self) -> RunState:
        """Read the folder."""
        rows = _rows(self.folder / "metrics.jsonl")
        manifest = self._manifest()
        news = self._seconds_since_news()
        steps = [row for row in rows if "utility_loss" in row or "hypervolume" in row]
        fronts = [row for row in rows if "hypervolume" in row]
        spending, critical = self._ledger()
        state = "finished" if manifest else "waiting" if news is None else "training"
        if state == "training" and news is not None and news > _QUIET_SECONDS:
            state = "quiet"
        latest = next((row for row in reversed(steps) if "utility_loss" in row), {})
        front = tuple(_measured(manifest.front)) if manifest and manifest.front else _front_of(fronts)
        return RunState(
            self.name,
            state,
            news,
            manifest.steps if manifest and not steps else max((int(row["step"]) for row in steps), default=0),
            tuple((int(row["step"]), row["hypervolume"]) for row in fronts),
            {name: value for name, value in latest.items() if name != "step"},
            front,
            front_hypervolume([(spot.leak.value, spot.utility.value) for spot in front]) if front else None,
            spending,
            critical,
            tuple(_warnings(state, fronts, spending, manifest)),
            manifest,
        )

    def picture(self, digest: str) -> bytes | None:
        """Return a protected picture of the ledger, exactly as it was sent."""
        with self._opened() as ledger:
            if ledger is not None:
                row = ledger.execute("SELECT data FROM images WHERE digest = ?", (digest,)).fetchone()
                return None if row is None else bytes(row[0])
        return None

    def _manifest(self) -> Manifest | None:
        # A manifest comes last, so its absence means that the run is not finished.
        with contextlib.suppress(ArtifactError):
            return read_manifest(self.folder)[0]
        return None

    def _seconds_since_news(self) -> float | None:
        times = []
        for pattern in ("metrics.jsonl", "ledger.sqlite*", "checkpoint.pt", "manifest.json", "run.lock"):
            for path in self.folder.glob(pattern):
                with contextlib.suppress(OSError):
                    times.append(path.stat().st_mtime)
        return max(0.0, time.time() - max(times)) if times else None

    def _ledger(self) -> tuple[Spending | None, tuple[CriticalQuery, ...]]:
        with self._opened() as ledger:
            if ledger is None:
                return None, ()
            queries, answered, dollars = ledger.execute(
                "SELECT count(*), count(answered_at), coalesce(sum(cost), 0) FROM queries"
            ).fetchone()
            purposes = dict(
                ledger.execute("SELECT purpose, count(*) FROM queries GROUP BY purpose").fetchall()
            )
            named = {_PURPOSES.get(purpose, str(purpose)): int(count) for purpose, count in purposes.items()}
            latest = ledger.execute(
                "SELECT q.image, q.prompt, q.text, q.logprobs FROM queries q JOIN images i ON i.digest = q.image"
                " WHERE q.answered_at IS NOT NULL ORDER BY q.answered_at DESC LIMIT ?",
                (_CANDIDATES,),
            ).fetchall()
        return Spending(queries, answered, dollars, named), _critical(latest)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection | None]:
        """Open the ledger for reading; ``None`` if there is none, or it can't be read at the moment."""
        path = self.folder / "ledger.sqlite"
        if not path.is_file():
            yield None
            return
        # A database that nobody writes to has no write-ahead log, and opening it must not make one.
        busy = path.with_name("ledger.sqlite-wal").exists()
        connection = None
        try:
            address = f"{path.resolve().as_uri()}?{'mode=ro' if busy else 'immutable=1'}"
            connection = sqlite3.connect(address, uri=True, timeout=2)
            connection.execute("SELECT count(*) FROM sqlite_master")
        except sqlite3.Error:
            if connection is not None:
                connection.close()
            connection = None
        try:
            yield connection
        except sqlite3.Error:
            pass
        finally:
            if connection is not None:
                connection.close()


def compared(states: Sequence[RunState]) -> Chart | None:
    """Lay out the fronts of several runs on one plot; the points of a single run carry their levels."""
    alone = len(states) == 1
    series = [
        Series(
            state.name,
            state.front if alone else tuple(spot._replace(name="") for spot in state.front),
            ours=alone,
        )
        for state in states
        if state.front
    ]
    return draw_series(series)


def front_chart(label: str, front: Sequence[FrontPoint], presets: Mapping[str, float]) -> Chart | None:
    """Lay out the measured front of an artifact.

    Args:
        label: Name of the artifact.
        front: Points of its manifest.
        presets: Its presets; levels that have none carry their number.
    """
    return draw_series([Series(label, tuple(_measured(front, presets)), ours=True)])


def _measured(front: Sequence[FrontPoint], presets: Mapping[str, float] | None = None) -> Iterator[Spot]:
    names = {level: name for name, level in (presets or {}).items()}
    for point in front:
        name = names.get(point.level, f"{point.level:g}")
        yield _spot(point.level, point.leak, point.utility, name, point.answers)


def _spot(level: float, leak: float, utility: float, name: str, answers: int = 0) -> Spot:
    exact = ConfidenceInterval(value=leak, low=leak, high=leak)
    known = wilson(min(1.0, max(0.0, utility)), answers) if answers else None
    useful = ConfidenceInterval(
        value=utility,
        low=min(utility, known.low) if known else utility,
        high=max(utility, known.high) if known else utility,
    )
    return Spot(exact, useful, f"level {level:g}: leak {leak:.2f}, utility {utility:.2f}", name)


def _front_of(fronts: Sequence[Mapping[str, float]]) -> tuple[Spot, ...]:
    """Return the points that the latest row of metrics with a front names."""
    if not fronts:
        return ()
    row = fronts[-1]
    levels = [name.removeprefix("leak/") for name in row if name.startswith("leak/")]
    return tuple(
        _spot(float(level), row[f"leak/{level}"], row[f"utility/{level}"], level)
        for level in levels
        if f"utility/{level}" in row
    )


def _rows(path: Path) -> list[dict[str, float]]:
    """Read metrics, the later row of a step in place of an earlier one; a line that is being written is left out."""
    try:
        text = path.read_bytes()[-_MOST_BYTES:]
    except OSError:
        return []
    rows: dict[tuple[int, bool], dict[str, float]] = {}
    for line in text.splitlines():
        try:
            row: Any = json.loads(line)
            step = int(row["step"])
        except (ValueError, KeyError, TypeError):
            continue
        numbers = {
            str(name): float(value)
            for name, value in row.items()
            if isinstance(value, int | float) and math.isfinite(value)
        }
        for known in [each for each in rows if each[0] > step]:
            del rows[known]  # of a run that was killed and went on from an earlier step
        rows[step, "hypervolume" in numbers] = numbers
    return [*rows.values()]


def _critical(rows: Sequence[tuple[str, str, str | None, str | None]]) -> tuple[CriticalQuery, ...]:
    """Choose the queries whose answers were closest to flipping; the latest ones without probabilities."""
    found = [
        CriticalQuery(digest, prompt, text or "", _margin(logprobs))
        for digest, prompt, text, logprobs in rows
    ]
    found.sort(key=lambda each: math.inf if each.margin is None else each.margin)
    different = {each.digest: each for each in reversed(found)}
    return tuple(sorted(different.values(), key=found.index)[:_CRITICAL])


def _margin(logprobs: str | None) -> float | None:
    try:
        likely = sorted(
            (math.exp(float(each)) for each in json.loads(logprobs or "{}").values()), reverse=True
        )
    except (ValueError, AttributeError, TypeError):
        return None
    return likely[0] - likely[1] if len(likely) > 1 else None


def _warnings(
    state: str, fronts: Sequence[Mapping[str, float]], spending: Spending | None, manifest: Manifest | None
) -> Iterator[str]:
    if state == "quiet":
        yield (
            "The folder has not changed for a while. If the run was killed, the same command with --resume goes on; "
            "nothing is paid twice."
        )
    if spending is not None and spending.answered < spending.queries and state != "training":
        count = spending.queries - spending.answered
        yield f"{count} queries have no answer. They count as paid, and are not asked again."
    if len(fronts) > 2 and fronts[-1]["hypervolume"] < max(row["hypervolume"] for row in fronts[:-1]):
        yield "The latest front is smaller than an earlier one. The artifact is made from the best one."
    if manifest and manifest.unread:
        names = ", ".join(manifest.unread)
        yield f"Training could not read {names} even from originals, so the protector did not learn to hide it."
