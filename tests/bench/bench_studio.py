"""Time from a move of the studio's slider to the new protected picture, of a picture of 12 megapixels.

Measured in the process of the studio, from the request to the last byte of its answer, at a new level each time:
nothing is answered from memory. ``python -m tests.bench.bench_studio`` prints medians, as CPU and as wall time.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import time

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from trainer.studio.app import Settings, create_studio

HOST = "127.0.0.1:8642"
TARGET_MS = 150
PROTECTORS = ("staff-cards", "photographs", "blur", "pixelate", "downscale")


def photograph(width: int = 4000, height: int = 3000) -> bytes:
    """A JPEG with detail of all sizes."""
    generator = np.random.default_rng(0)
    image = Image.fromarray(generator.integers(0, 255, (height // 50, width // 50, 3), dtype=np.uint8))
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    noise = Image.effect_noise((width, height), 24).convert("RGB")
    file = io.BytesIO()
    Image.blend(image, noise, 0.2).save(file, "JPEG", quality=88)
    return file.getvalue()


def measure(moves: int) -> dict[str, dict[str, float]]:
    """Move the slider of each protector, and return milliseconds."""
    studio = create_studio(Settings(), [HOST])
    results = {}
    with TestClient(studio.app, base_url=f"http://{HOST}") as browser:
        base = browser.get(studio.opening_path, follow_redirects=False).headers["location"]
        taken = browser.post(f"{base}pictures", content=photograph(), headers={"origin": f"http://{HOST}"})
        picture = taken.json()["id"]
        for name in PROTECTORS:
            walls, cpus = [], []
            for number in range(moves + 1):
                level = 0.2 + 0.7 * number / moves
                started, worked = time.perf_counter(), time.process_time()
                answer = browser.get(f"{base}pictures/{picture}/0/protected?protector={name}&level={level}")
                answer.raise_for_status()
                walls.append((time.perf_counter() - started) * 1000)
                cpus.append((time.process_time() - worked) * 1000)
            results[name] = {
                "first_cpu_ms": round(cpus[0], 1),  # loads the engine, and decodes at its size
                "cpu_ms": round(statistics.median(cpus[1:]), 1),
                "slowest_cpu_ms": round(max(cpus[1:]), 1),
                "wall_ms": round(statistics.median(walls[1:]), 1),
                "share_of_target": round(statistics.median(cpus[1:]) / TARGET_MS, 2),
            }
    return results


def main() -> None:
    """Print the measurement as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moves", type=int, default=20)
    print(json.dumps({"target_ms": TARGET_MS, "moves": measure(parser.parse_args().moves)}, indent=2))


if __name__ == "__main__":
    main()
