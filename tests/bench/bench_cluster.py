"""Pictures on a cluster of Ray with three nodes, one of which is killed: lost, done twice, and speed.

``python -m tests.bench.bench_cluster --pictures 20000`` on an idle machine. Needs the extra ``ray``.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections import Counter
from pathlib import Path

from PIL import Image

from langchain_vpp.batch import plan, protect_files
from langchain_vpp.cli.protection import Protection
from tests.integration.scale.nodes import started_cluster
from trainer.scale.ray import Cluster

PIXELATE = Protection(engine="pixelate")


def draw(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Draw pictures, all different."""
    for number in range(count):
        path = folder / str(number % 50) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("RGB", size, (number % 251, number // 251 % 251, 90))
        image.putpixel((number % size[0], number % size[1]), (255, 255, 255))
        image.save(path, compress_level=1)


def cpu_seconds() -> float:
    """CPU seconds of this process and of those that it has waited for."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def alone(originals: Path, out: Path) -> dict[str, float]:
    """Protect in one thread of this process."""
    began, cpu = time.monotonic(), cpu_seconds()
    protector, settings = PIXELATE.build()
    jobs, _ = plan([originals], out)
    statuses = Counter(copy.status for copy in protect_files(jobs, out, protector, settings=settings))
    return {"wall_s": round(time.monotonic() - began, 1), "cpu_s": round(cpu_seconds() - cpu, 1), **statuses}


def on_cluster(originals: Path, out: Path, *, kill_after: int | None) -> dict[str, float]:
    """Protect on three nodes, of which one is killed after some outcomes."""
    with started_cluster() as nodes:
        machines = Cluster(nodes.address)
        began = time.monotonic()
        jobs, _ = machines.plan([str(originals)], str(out))
        outcomes = []
        for copy in machines.protect_files(jobs, str(out), PIXELATE, settings=PIXELATE.build()[1]):
            outcomes.append(copy)
            if len(outcomes) == kill_after:
                nodes.remove_node(nodes.more.pop(), allow_graceful=False)
        wall = time.monotonic() - began
    sources = Counter(copy.source for copy in outcomes)
    return {
        "wall_s": round(wall, 1),
        **Counter(copy.status for copy in outcomes),
        "lost": len(jobs) - len(sources) + sum(not job.target.is_file() for job in jobs),
        "done_twice": sum(count > 1 for count in sources.values()),
    }


def differing(first: Path, second: Path) -> int:
    """Count the outputs of one folder that are not, to the byte, those of another."""
    return sum(
        path.read_bytes() != (second / path.relative_to(first)).read_bytes() for path in first.rglob("*.jpg")
    )


def main() -> None:
    """Measure, and print a line of JSON per run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--size", type=int, nargs=2, default=(64, 48))
    parser.add_argument("--keep-all", action="store_true", help="kill no node")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        draw(folder / "originals", options.pictures, options.size)
        found = {"one process": alone(folder / "originals", folder / "alone")}
        kind = "three nodes" if options.keep_all else "three nodes, one killed"
        kill_after = None if options.keep_all else options.pictures // 4
        found[kind] = on_cluster(folder / "originals", folder / "cluster", kill_after=kill_after)
        found[kind]["differing"] = differing(folder / "alone", folder / "cluster")
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
