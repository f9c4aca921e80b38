"""What both benchmarks need: the machine that they ran on, and robust summaries."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import sys
import sysconfig
from typing import TYPE_CHECKING, Any

import PIL

if TYPE_CHECKING:
    from collections.abc import Sequence


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
