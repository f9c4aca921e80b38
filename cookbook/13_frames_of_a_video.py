# %% [markdown]
# # 13. Frames of a video
#
# Few chat models take a video, and all of them take pictures. This recipe sends a video as protected frames, writes a
# whole protected video, and looks at what the weakest frame shows: an engine that judges each frame by itself misses
# in one frame what it covers in the next. Needs the extra `video`.

# %%
import base64
import io

import av
import numpy as np
from langchain_core.messages import HumanMessage
from PIL import Image, ImageDraw

from langchain_vpp import ImageProtector

# %% [markdown]
# The film: a shirt with a number goes through the picture.

# %%
WIDTH, HEIGHT, SIDE = 320, 240, 64


def place(second: float) -> tuple[int, int]:
    return 30 + int(45 * second), 90


def drawn(second: float) -> Image.Image:
    picture = Image.new("RGB", (WIDTH, HEIGHT), (120, 150, 120))
    pen = ImageDraw.Draw(picture)
    left, top = place(second)
    pen.rectangle((left, top, left + SIDE, top + SIDE), fill=(60, 60, 160))
    pen.text((left + 12, top + 12), "47", fill="white", font_size=34)
    return picture


seconds = [number / 10 for number in range(50)]
file = io.BytesIO()
with av.open(file, "w", format="mp4") as film:
    stream = film.add_stream("libx264", rate=10)
    stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    for second in seconds:
        film.mux(stream.encode(av.VideoFrame.from_image(drawn(second))))
    film.mux(stream.encode())
original = file.getvalue()

# %% [markdown]
# The engine covers the shirt, but in a third of the frames it finds nothing.


# %%
class Wavering:
    def protect(self, image: Image.Image, level: float) -> Image.Image:  # noqa: ARG002  one level
        shirt = np.argwhere(np.asarray(image)[:, :, 0] < 90)
        (top, left), (bottom, right) = shirt.min(axis=0), shirt.max(axis=0)
        protected = image.copy()
        if left % 3:
            protected.paste((128, 128, 128), (left - 3, top - 3, right + 4, bottom + 4))
        return protected


protector = ImageProtector(Wavering(), level=0.5, on_video="sample")

# %% [markdown]
# In a message, frames take the place of the video: one for each second, behind a line that says what they are.

# %%
block = {"type": "video", "base64": base64.b64encode(original).decode(), "mime_type": "video/mp4"}
(message,) = protector.protect_messages([HumanMessage([{"type": "text", "text": "Who wins?"}, block])])
print([each.get("text", each["type"]) for each in message.content])
assert [each["type"] for each in message.content] == ["text", "text", *["image"] * 5]

# %% [markdown]
# A whole video has every frame, and nothing else of the file.

# %%
protected = protector.protect_video(original)
with av.open(io.BytesIO(protected)) as film:
    frames = [frame.to_image() for frame in film.decode(video=0)]
assert len(frames) == len(seconds)

# %% [markdown]
# How much of the number does a frame show? The share of the shirt that is as bright as the digits tells.


# %%
def shown(frame: Image.Image, second: float) -> float:
    left, top = place(second)
    shirt = np.asarray(frame.crop((left, top, left + SIDE, top + SIDE)).convert("L"))
    return float((shirt > 190).mean())


engine = Wavering()
one_by_one = [shown(engine.protect(drawn(second), 0.5), second) for second in seconds]
together = [shown(frame, second) for frame, second in zip(frames, seconds, strict=True)]
print(
    f"the weakest frame shows {max(one_by_one):.2f} of the shirt in digits, and {max(together):.2f} in the video"
)
assert max(one_by_one) > 0.05
assert max(together) == 0.0
