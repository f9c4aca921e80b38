"""Pages whose words are known, and a chat model that reads what is shown of them."""

from __future__ import annotations

import base64
import json
import os
import signal
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from PIL import Image, ImageDraw, ImageFont
from pydantic import ConfigDict

from langchain_vpp.images.codec import decode_image
from tests.unit.langchain_vpp.engines.words.made import words_of
from trainer import load_dataset
from trainer.training.admission.config import AdmissionConfig
from trainer.training.admission.run import AdmissionTrainer

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_vpp.engines.words.reader import Word
    from trainer.data.dataset import Dataset

SIZE = (420, 200)
SETTINGS = {"max_queries": 28, "may_show": ("names",), "seed": 1, "max_concurrency": 1}
PEOPLE = ("Anna Meyer", "Bhavna Iyer", "Tomasz Nowak", "Ifeoma Uzoma", "Grace Ashworth")
SPLITS = ("train", "train", "train", "val", "test")


def lines_of(number: int) -> tuple[str, ...]:
    return f"from: {PEOPLE[number]}", f"total ${number + 3}40.50", "thank you"


def draw(words: list[Word]) -> Image.Image:
    image = Image.new("RGB", SIZE, "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(14)
    for word in words:
        pen.text((word.box[0], word.box[1] + 2), word.text, fill="black", font=font)
    return image


class KnownWords:
    """Reads the pages, and finds nothing in other pictures."""

    def __init__(self) -> None:
        self.pages = {draw(words_of(*lines_of(number))).tobytes(): number for number in range(len(PEOPLE))}
        self.reads = 0

    def read(self, image: Image.Image) -> list[Word]:
        self.reads += 1
        number = self.pages.get(image.tobytes())
        return [] if number is None else words_of(*lines_of(number))


class LookingAtWords(BaseChatModel):
    """Answers from the words that are dark where they stand on a page, as it is sent; the page is told by its shape."""

    model_config = ConfigDict(extra="allow")
    model_name: str = "looking"
    asked: int = 0
    kill_at: int = -1
    """Call at which the process is killed as with ``kill -9``; -1 for none."""

    @property
    def _llm_type(self) -> str:
        return "looking"

    def _generate(
        self, messages: list[BaseMessage], stop=None, run_manager=None, **kwargs: Any
    ) -> ChatResult:
        if self.asked == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.asked += 1
        blocks = messages[-1].content_blocks
        question = next(block["text"] for block in blocks if block["type"] == "text")
        picture = decode_image(base64.b64decode(next(b["base64"] for b in blocks if b["type"] == "image")))
        message = AIMessage(answer(picture, question))
        return ChatResult(generations=[ChatGeneration(message=message)])


def answer(picture: Image.Image, question: str) -> str:
    wanted = 0 if "from" in question else 1
    for number in range(len(PEOPLE)):
        words = words_of(*lines_of(number))
        original = draw(words)
        line = [word for word in words if word.line == wanted]
        if all(_same(original, picture, word) for word in line):
            return PEOPLE[number] if wanted == 0 else line[-1].text
    return "I can't tell."


def _same(original: Image.Image, picture: Image.Image, word: Word) -> bool:
    box = tuple(map(round, (word.box[0], word.box[1], word.box[2], word.box[3])))
    one, other = (image.crop(box).convert("L").tobytes() for image in (original, picture))
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) < 90


def save_pages(folder: Path) -> Dataset:
    """A data set of five pages, with two questions about each."""
    lines = []
    for number, split in enumerate(SPLITS):
        draw(words_of(*lines_of(number))).save(folder / f"{number}.png")
        tasks = [
            {"question": "Whom is it from?", "answer": PEOPLE[number]},
            {"question": "What is the total?", "answer": f"${number + 3}40.50"},
        ]
        lines.append({"image": f"{number}.png", "split": split, "tasks": tasks})
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return load_dataset(folder, needs_attributes=False)


def run_until_killed(folder: Path, out: Path, settings: dict[str, Any], kill_at: int) -> None:
    """Begin a run in this process, which the chat model kills."""
    dataset = load_dataset(folder, needs_attributes=False)
    config = AdmissionConfig.model_validate(settings)
    AdmissionTrainer(LookingAtWords(kill_at=kill_at), dataset, config, reader=KnownWords()).fit(out)
