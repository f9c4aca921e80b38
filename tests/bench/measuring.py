"""What the benchmarks share: the machine that they ran on, pictures, robust summaries, and the gate."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import os
import platform
import random
import re
import statistics
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PIL
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


def machine() -> dict[str, Any]:
    """Where the figures come from; without this they say nothing."""
    return {
        "processor": _processor(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        "switch_interval_ms": sys.getswitchinterval() * 1000,
        "pillow": PIL.__version__,
        "langchain-core": importlib.metadata.version("langchain-core"),
    }


def installed(package: str) -> str | None:
    """The version of a package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def photograph(size: tuple[int, int], seed: int = 0) -> bytes:
    """A JPEG with the detail, and so the bytes, of a photograph."""
    coarse = (max(1, size[0] // 8), max(1, size[1] // 8))
    pixels = random.Random(seed).randbytes(coarse[0] * coarse[1] * 3)
    picture = Image.frombytes("RGB", coarse, pixels).resize(size, Image.Resampling.BICUBIC)
    noise = Image.effect_noise(size, 24).convert("RGB")
    encoded = io.BytesIO()
    Image.blend(picture, noise, 0.3).save(encoded, "JPEG", quality=88)
    return encoded.getvalue()


@contextlib.contextmanager
def pinned() -> Iterator[None]:
    """Keep this process, and the threads that it starts, on one CPU where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def memory_megabytes(name: str, process: str = "self") -> float:
    """Read the megabytes of a process from Linux: ``VmRSS``, taken now, or ``VmHWM``, the most so far."""
    found = re.search(name + r":\s*(\d+) kB", Path(f"/proc/{process}/status").read_text(encoding="ascii"))
    if found is None:
        raise OSError(name)
    return round(int(found[1]) / 1024, 1)


def regressions(ratios: Mapping[str, float], baseline: Mapping[str, float], tolerance: float) -> list[str]:
    """Name every ratio, lower is better, that is worse than the baseline's by more than the tolerance.

    Args:
        ratios: What was measured now.
        baseline: What was measured before. A ratio that is missing now is a regression: a gate that measures
            nothing would always be green.
        tolerance: How many times the baseline's ratio is still taken for equal; at least 1.
    """
    if tolerance < 1:
        raise ValueError("tolerance must be at least 1")
    worse = []
    for name, before in baseline.items():
        now = ratios.get(name)
        if now is None:
            worse.append(f"{name} was not measured; it was {before:.2f}")
        elif not now <= before * tolerance:  # also where it isn't a number
            worse.append(
                f"{name} is {now:.2f}; it was {before:.2f}, and {before * tolerance:.2f} is the bound"
            )
    return worse


def summary(samples: Sequence[float], digits: int = 4) -> dict[str, float]:
    """Median and interquartile range."""
    first, median, third = statistics.quantiles(samples, n=4)
    return {"median": round(median, digits), "iqr": round(third - first, digits), "n": len(samples)}


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the sorted samples lie."""
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
