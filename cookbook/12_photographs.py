# %% [markdown]
# # 12. Photographs
#
# Faces, heads and much of the text vanish from a photograph, and the scene stays, so that a chat model still answers
# what happens in it. The base install is enough; the photograph here comes with scikit-image.

# %%
import base64
import io

import numpy as np
from langchain_core.language_models import FakeListChatModel
from PIL import Image, ImageDraw, ImageFont
from skimage import data

from langchain_vpp import ImageProtector, image_block

photograph = Image.fromarray(data.astronaut())
protector = ImageProtector.from_pretrained("photographs", min_level=0.0)

# %% [markdown]
# Each preset hides more. The face lies in the middle of the upper half; what the network or the face detector finds
# becomes one grey, which nothing can be read from.

# %%
FACE = (185, 70, 265, 165)
GREY = (128, 128, 128)


def gone(picture: Image.Image, box: tuple[int, int, int, int] | None = None) -> float:
    """Return the share of pixels that are grey."""
    pixels = np.asarray(picture.crop(box) if box else picture).astype(int)
    return float((np.abs(pixels - GREY).max(axis=2) <= 2).mean())


for preset in ("low", "balanced", "high"):
    protected = protector.protect_image(photograph, level=preset)
    print(
        f"{preset}: {gone(protected, FACE):.2f} of the face is gone, and {gone(protected):.2f} of the picture"
    )
    assert gone(protected, FACE) > 0.95
assert gone(photograph, FACE) < 0.05

# %% [markdown]
# In a chain, the model gets the protected picture only, and the receipt says which.

# %%
chain = protector | FakeListChatModel(responses=["An astronaut in front of a flag and a model of a rocket."])
question = {"role": "user", "content": [{"type": "text", "text": "What is here?"}, image_block(photograph)]}
answer = chain.invoke([question])
print(answer.text, answer.response_metadata["vpp"]["images"])

# %% [markdown]
# A picture of another kind, such as a letter, is covered whole: this artifact does not know what is private there. For
# letters and screens there is `from_pretrained("screens")`.

# %%
letter = Image.new("RGB", (800, 1000), "white")
pen = ImageDraw.Draw(letter)
for line in range(30):
    pen.text(
        (60, 60 + 30 * line),
        "Dear Ms. Example, thank you for your letter of 3 May.",
        "black",
        ImageFont.load_default(22),
    )
(message,) = protector.protect_messages([{"role": "user", "content": [image_block(letter)]}])
sent = Image.open(io.BytesIO(base64.b64decode(message.content[0]["base64"])))
print(f"of the letter, {gone(sent):.2f} is gone")
assert gone(sent) == 1.0
