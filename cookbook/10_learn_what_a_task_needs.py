# %% [markdown]
# # 10. Learn what a task needs
#
# Which words of an invoice must a chat model see to tell the total and the sender? A few dozen answers say so. The
# artifact that comes out shows these kinds of words and covers all others. `VPP_SMOKE=1` shrinks the sizes only.
#
# So that nothing has to be read, the pages here are drawn with known words, and `KnownWords` takes the place of the
# text reader (leave `reader=` out for RapidOCR). The sandbox's screen model takes the place of your provider's.

# %%
import json
import os
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from langchain_vpp.artifact import load_engine, read_manifest
from langchain_vpp.engines.words import Word
from trainer import load_dataset
from trainer.sandbox.chat_model import SandboxChatModel
from trainer.sandbox.screens.model import ScreenModel
from trainer.training.admission.config import AdmissionConfig
from trainer.training.admission.run import AdmissionTrainer

SMOKE = os.environ.get("VPP_SMOKE") == "1"
work = Path(tempfile.mkdtemp())
FONT = ImageFont.load_default(15)

# %% [markdown]
# Invoices with a sender, a total and an account number, each with two questions. Private attributes need no labels.


# %%
def words_of(number: int) -> list[Word]:
    sender = ("Anna Meyer", "Bhavna Iyer", "Tomasz Nowak", "Ifeoma Uzoma")[number % 4]
    lines = (f"From: {sender}", f"Total: ${number + 2}40.50", f"IBAN: DE{10 + number} 3704 0044 0532 0130 00")
    found = []
    for line, text in enumerate(lines):
        x = 20.0
        for each in text.split():
            width = FONT.getlength(each)
            found.append(Word(each, (x, 40.0 * line + 20, x + width, 40.0 * line + 40), 1.0, line))
            x += width + 5
    return found


def draw(words: list[Word]) -> Image.Image:
    image = Image.new("RGB", (400, 160), "white")
    pen = ImageDraw.Draw(image)
    for word in words:
        pen.text(word.box[:2], word.text, fill="black", font=FONT)
    return image


splits = ["train"] * (3 if SMOKE else 12) + ["val"] * (1 if SMOKE else 6) + ["test"]
pages = [words_of(number) for number in range(len(splits))]
lines = []
for number, (split, words) in enumerate(zip(splits, pages, strict=True)):
    draw(words).save(work / f"{number}.png")
    texts = [
        " ".join(word.text for word in words if word.line == line).partition(" ")[2] for line in range(2)
    ]
    tasks = [
        {"question": "Whom is it from?", "answer": texts[0]},
        {"question": "What is the total?", "answer": texts[1]},
    ]
    lines.append({"image": f"{number}.png", "split": split, "tasks": tasks})
(work / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
dataset = load_dataset(work, needs_attributes=False)

# %% [markdown]
# A reader is any object with this method. This one finds the known words that are still legible in a picture, protected
# or not, so it serves the engine and the model that answers.


# %%
class KnownWords:
    def read(self, image: Image.Image) -> list[Word]:
        if image.size != (400, 160):
            return []
        return max(
            ([word for word in words if self._is_legible(image, words, word)] for words in pages), key=len
        )

    def _is_legible(self, image: Image.Image, words: list[Word], word: Word) -> bool:
        box = tuple(map(round, word.box))
        seen, drawn = (np.asarray(each.crop(box).convert("L"), dtype=float) for each in (image, draw(words)))
        return float(np.abs(seen - drawn).max()) < 90


# %% [markdown]
# `may_show` is your consent: names may be sent in training and shown afterwards. Account numbers are not on the list,
# so no query shows one, whatever it would tell.

# %%
reader = KnownWords()
config = AdmissionConfig(max_queries=40 if SMOKE else 120, may_show=("names",))
trainer = AdmissionTrainer(SandboxChatModel(vision=ScreenModel(reader)), dataset, config, reader=reader)
run = trainer.fit(work / "run")

manifest = read_manifest(run)[0]
for question, kinds in manifest.needs.items():
    print(f"{question} needs {', '.join(kinds)}")
for point, step in zip(manifest.front, manifest.shown, strict=True):
    print(
        f"up to level {step.level:.2f}: utility {point.utility:.2f}, price {point.leak:.2f}, shows {step.kinds}"
    )
assert set(manifest.needs["What is the total?"]) <= {"words", "amounts"}
assert not any("accounts" in step.kinds for step in manifest.shown)

# %% [markdown]
# The artifact is a manifest alone. If you know the question, the engine shows no more than that one needs.

# %%
engine = load_engine(run)
print("for the total:", sorted(engine.answering("What's the total?").shown_at(manifest.presets["low"])))
