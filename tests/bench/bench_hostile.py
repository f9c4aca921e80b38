"""What hostile files cost: seconds and memory of each, within the default budget of a request.

Every file goes the whole way of a message, by an engine that sees pictures at full size, which is the worst case. The
memory is the highest above what the process takes anyway; that of the process for isolated decoding stands beside it.

    python -m tests.bench.bench_hostile [NAME...] [--out FILE]
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from langchain_core.messages import HumanMessage

from langchain_vpp import ImageProtector, ProtectionError, RequestBudget
from langchain_vpp.engines import Pixelate
from langchain_vpp.images import isolated
from tests.hostile_files import HOSTILE

from .measuring import machine, memory_megabytes, photograph


def main() -> None:
    """Print a table to stderr, and one JSON document."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="some of the files")
    parser.add_argument("--out", type=Path, help="file for the JSON, in the place of stdout")
    options = parser.parse_args()
    budget = RequestBudget()
    protector = ImageProtector(Pixelate(), memo_bytes=0, on_document="rasterize", budget=budget)
    for warm in (photograph((640, 480)), HOSTILE["tiff, a directory that is its own next"]()):
        cost(protector, warm)
    print(f"{'file':42}{'bytes':>12}{'seconds':>9}{'MB':>6}{'MB, isolated':>14}  answer", file=sys.stderr)
    results: dict[str, Any] = {}
    for name in options.names or HOSTILE:
        result = results[name] = cost(protector, HOSTILE[name]())
        print(
            f"{name:42}{result['bytes']:>12,}{result['seconds']:>9.2f}{result['peak_mb']:>6.0f}"
            f"{result['isolated_mb']:>14.0f}  {result['answer']}",
            file=sys.stderr,
        )
    report = {
        "benchmark": "hostile",
        "budget": {name: getattr(budget, name) for name in RequestBudget.__slots__},
        "most": {
            key: max(each[key] for each in results.values()) for key in ("seconds", "peak_mb", "isolated_mb")
        },
        "results": results,
        "machine": machine(),
    }
    text = json.dumps(report, indent=2)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)


def cost(protector: ImageProtector, data: bytes) -> dict[str, Any]:
    """Protect one file, and say what it took."""
    messages = [message(data)]
    forget_peaks()
    before = memory_megabytes("VmRSS")
    started = time.perf_counter()
    answer = "protected"
    try:
        protector.protect_messages(messages)
    except ProtectionError as error:
        answer = str(error).partition(". ")[0].partition(": ")[2]
    return {
        "bytes": len(data),
        "seconds": round(time.perf_counter() - started, 3),
        "peak_mb": round(max(0.0, memory_megabytes("VmHWM") - before), 1),
        "isolated_mb": isolated_peak(),
        "answer": answer,
    }


def message(data: bytes) -> HumanMessage:
    """One message with one picture, or with one document."""
    encoded = base64.b64encode(data).decode()
    if data.startswith(b"%PDF"):
        return HumanMessage([{"type": "file", "base64": encoded, "mime_type": "application/pdf"}])
    return HumanMessage([{"type": "image", "base64": encoded, "mime_type": "image/png"}])


def forget_peaks() -> None:
    """Forget how much memory this process and the isolated ones have taken at most."""
    for pid in ("self", *(process._child.pid for process in isolated._PROCESSES._idle)):
        Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def isolated_peak() -> float:
    """The most that an isolated process has taken since; nothing where it was ended."""
    peaks = [0.0]
    for process in isolated._PROCESSES._idle:
        status = Path(f"/proc/{process._child.pid}/status").read_text(encoding="ascii")
        found = re.search(r"VmHWM:\s*(\d+) kB", status)
        peaks.append(round(int(found[1]) / 1024, 1) if found else 0.0)
    return max(peaks)


if __name__ == "__main__":
    main()
