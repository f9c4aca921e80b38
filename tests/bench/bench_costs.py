"""Cost of protecting and sending a picture: CPU time of each engine, bytes, image tokens and list prices.

``python -m tests.bench.bench_costs`` prints the tables of ``docs/guides/costs.md``, as Markdown. ``--words`` measures
``screens``, too, which takes a minute.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from typing import TYPE_CHECKING, Final

from PIL import Image
from skimage import data

from langchain_vpp.engines import Blur, Downscale, Pixelate
from langchain_vpp.image_protector import ImageProtector
from langchain_vpp.providers import AS_OF, FAMILIES, fit_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SIZES: Final = ((1152, 864), (2048, 1536), (4000, 3000))
ENGINES: Final[Mapping[str, Callable[..., ImageProtector]]] = {
    "photographs": lambda **options: ImageProtector.from_pretrained("photographs", **options),
    # The picture is no staff card; covering it whole would take less time.
    "staff-cards": lambda **options: ImageProtector.from_pretrained(
        "staff-cards", on_unfamiliar="warn", **options
    ),
    "pixelate": lambda **options: ImageProtector(Pixelate(), level=0.5, **options),
    "downscale": lambda **options: ImageProtector(Downscale(), level=0.5, **options),
    "blur": lambda **options: ImageProtector(Blur(), level=0.5, **options),
}
SCREENS: Final = "screens"


def photograph(size: tuple[int, int]) -> bytes:
    """A photograph of scikit-image with a camera's noise, as a JPEG."""
    image = Image.fromarray(data.astronaut()).resize(size, Image.Resampling.LANCZOS)
    noisy = Image.blend(image, Image.effect_noise(size, 40).convert("RGB"), 0.06)
    file = io.BytesIO()
    noisy.save(file, "JPEG", quality=88)
    return file.getvalue()


def megapixels(size: tuple[int, int]) -> str:
    return f"{size[0] * size[1] / 1e6:.0f} MP"


def measure(protector: ImageProtector, picture: bytes, moves: int) -> tuple[float, int]:
    """Milliseconds of CPU, as a median after one that is not counted, and bytes of the protected picture."""
    times, sent = [], b""
    for number in range(moves + 1):
        started = time.process_time()
        # A byte after the end of a JPEG changes no pixel, and keeps answers out of the memo.
        sent = protector.protect_encoded(picture + bytes([number]))
        times.append((time.process_time() - started) * 1000)
    return statistics.median(times[1:] or times), len(sent)


def speed_table(names: Mapping[str, Callable[..., ImageProtector]], moves: int) -> list[str]:
    pictures = {size: photograph(size) for size in SIZES}
    heads = [f"{megapixels(size)}, {kind}" for size in SIZES for kind in ("same", "fit")]
    lines = [f"| engine | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    lines.append(
        "| the file itself | " + " | ".join(f"{len(pictures[size]) / 1e3:,.0f} kB |" for size in SIZES) + " |"
    )
    for name, make in names.items():
        cells = []
        for size in SIZES:
            for kind in ("same", "fit"):
                took, sent = measure(make(output_size=kind), pictures[size], 0 if name == SCREENS else moves)
                cells.append(f"{took:,.0f} ms, {sent / 1e3:,.0f} kB")
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return lines


def price_table() -> list[str]:
    """Image tokens at the original's size and fitted, and what 1,000 pictures of the largest size cost."""
    heads = " | ".join(f"{megapixels(size)}, {kind}" for size in SIZES for kind in ("same", "fit"))
    lines = [f"| family | {heads} | 1,000 pictures of {megapixels(SIZES[-1])} |", f"|---|{'---|' * 7}"]
    for family in FAMILIES:
        tokens = [family.tokens(*fitted) for size in SIZES for fitted in (size, fit_size(*size))]
        prices = [
            f"{model} ${tokens[-2] * price / 1e3:,.2f} → ${tokens[-1] * price / 1e3:,.2f}"
            for model, (price, _) in family.models.items()
        ]
        cells = " | ".join(f"{each:,}" for each in tokens)
        lines.append(f"| {family.name} | {cells} | {'; '.join(prices)} |")
    return [*lines, "", f"Rules and list prices as of {AS_OF}; input tokens of the pictures alone."]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moves", type=int, default=3, help="times that each picture is measured")
    parser.add_argument("--words", action="store_true", help="measure `screens`, too")
    options = parser.parse_args()
    engines = dict(ENGINES)
    if options.words:
        engines[SCREENS] = lambda **given: ImageProtector.from_pretrained(SCREENS, **given)
    print("\n".join([*speed_table(engines, options.moves), "", *price_table()]))


if __name__ == "__main__":
    main()
