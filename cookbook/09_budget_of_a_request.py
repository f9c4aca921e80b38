# %% [markdown]
# # 9. The budget of a request
#
# Whoever uploads a picture chooses what protecting it costs: a file of 60 kilobytes can ask for 64 million pixels.
# This recipe sets a budget, shows what it refuses and with which words, and sends a question beside large requests.

# %%
import asyncio
import base64
import io
import time

from langchain_core.messages import HumanMessage
from PIL import Image

from langchain_vpp import ImageProtector, ProtectionError, RequestBudget
from langchain_vpp.engines import Pixelate

# %% [markdown]
# Bounds follow from what your users send. A telephone takes 12 megapixels, and four pictures are many for one question.

# %%
budget = RequestBudget(pictures=4, max_pixels=16_000_000, pixels=14_000_000, bytes=20_000_000, seconds=10)
protector = ImageProtector(Pixelate(), level=0.7, on_remote_url="fetch", budget=budget)


def message(*pictures: bytes) -> list[HumanMessage]:
    blocks = [
        {"type": "image", "base64": base64.b64encode(each).decode(), "mime_type": "image/png"}
        for each in pictures
    ]
    return [HumanMessage(["What is this?", *blocks])]


def png(width: int, height: int, shade: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("L", (width, height), shade).save(file, "PNG")
    return file.getvalue()


# %% [markdown]
# ## What is refused
#
# Everything is counted before the work is done, and nothing is sent. The error names the option that would let the
# request through, and quotes nothing of it: show it to the user as it is.

# %%
bomb = png(8_000, 8_000)
addresses = [{"type": "image", "url": f"https://example.org/{number}.png"} for number in range(90)]
hostile = {
    "max_pixels": message(bomb),
    "pictures": [HumanMessage(addresses)],
    "pixels": message(*(png(2_000, 2_000, shade) for shade in range(4))),
    "bytes": message(bytes(21_000_000)),
}
print(f"a picture of {len(bomb):,} bytes asks for 64 million pixels")
for option, messages in hostile.items():
    started, said = time.perf_counter(), ""
    try:
        protector.protect_messages(messages)
    except ProtectionError as error:
        said = str(error)
    assert option in said, option
    print(f"{option}: refused after {time.perf_counter() - started:.2f} s: {said}")

# %% [markdown]
# ## Who waits for whom
#
# Work on pictures has threads of its own, and long work gives way. So a question is answered at once, and a small
# picture soon, while large ones wait in line.


# %%
async def beside() -> tuple[float, float]:
    large = [message(png(4_000, 3_000, shade)) for shade in range(12)]
    waiting = [asyncio.ensure_future(protector.aprotect_messages(each)) for each in large]
    await asyncio.sleep(0.05)
    started = time.perf_counter()
    await protector.aprotect_messages([HumanMessage("What is new?")])
    question = time.perf_counter() - started
    await protector.aprotect_messages(message(png(640, 480)))
    picture = time.perf_counter() - started
    assert not all(each.done() for each in waiting)
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    return question, picture


question, picture = asyncio.run(beside())
print(
    f"beside 12 large pictures a question took {question * 1000:.1f} ms, a small picture {picture * 1000:.0f} ms"
)

# %% [markdown]
# A protector knows requests, not users. Limit how many requests, and how large ones, each user may send before they
# reach it.
