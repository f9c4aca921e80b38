"""Conversations about drawn documents with the sandbox's model of screens, protected and restored."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import re
import socket
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import uvicorn
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from PIL import Image
from pydantic import Field, create_model

from langchain_vpp import ImageProtector, protect
from langchain_vpp.engines.words import RapidReader, Words
from tests.integration.conversing import plain, texts_of
from trainer.attackers.ocr import edits_within
from trainer.sandbox.drawing.documents.browser import find_browser, render
from trainer.sandbox.drawing.documents.tasks import DOCUMENT_TASKS, design_task_page
from trainer.sandbox.screens.model import ScreenModel
from trainer.sandbox.server import create_app
from trainer.sandbox.vision.local_model import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from langchain_vpp.engines.words.reader import Word

WAYS = ("invoke", "ainvoke", "stream", "astream", "events", "call", "structured")
LEVEL = 0.5
_TURNS = 6
_SIZE = (640, 420)
_PRIVATE = {"NAME", "COMPANY", "EMAIL", "PHONE", "IBAN", "ADDRESS", "ID", "ACCOUNT", "CARD", "HANDLE"}
_SHORTEST = 5
"""Letters and digits of the shortest value that is looked for: shorter ones stand in base64 and in other words."""
_KEPT = 400
_SECONDS = 900.0
"""Time for a picture: a limit that a busy machine exceeds would cover what is asked for."""
_MENTIONS = ("You said", "Thanks for", "I noted")
_AGAIN = 0.25
"""Share of later turns that bring another picture."""
_LOUD = 0.3
"""Share of mentions in capitals."""
_TOLERANCE = 0.2


class RememberingReader:
    """Reads each picture once, for the protector and for the model: they share networks, not what is protected."""

    def __init__(self) -> None:
        self._reader = RapidReader()
        self._known: OrderedDict[bytes, Sequence[Word]] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, image: Image.Image) -> Sequence[Word]:
        """Return the words of a picture; see ``TextReader``."""
        key = repr(image.size).encode() + image.tobytes()
        with self._lock:
            if key in self._known:
                return self._known[key]
        words = self._reader.read(image)
        with self._lock:
            self._known[key] = words
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return words


class Page(NamedTuple):
    """A drawn document.

    Attributes:
        png: Its file.
        image: The picture.
        answers: Question -> the answer of the model that sees the original.
        truth: Question -> the answer that the document was drawn with.
        texts: Its private texts.
    """

    png: bytes
    image: Image.Image
    answers: Mapping[str, str]
    truth: Mapping[str, str]
    texts: tuple[str, ...]


class Answer(NamedTuple):
    """An answer, with the one that the original gets."""

    way: str
    question: str
    expected: str
    got: str


class Findings(NamedTuple):
    """Outcome of conversations."""

    answers: list[Answer]
    leaks: list[str]
    values: int
    requests: int


def draw_page(seed: int, model: ScreenModel) -> Page:
    """Draw a document, and ask the model all its questions about the original."""
    generator = np.random.default_rng((seed, 911))
    task = [*DOCUMENT_TASKS][seed % len(DOCUMENT_TASKS)]
    html, page = design_task_page(task, int(generator.integers(3)), generator)
    image = render(html, _SIZE, 1.0, browser=find_browser()).picture
    file = io.BytesIO()
    image.save(file, "PNG")
    answers = {question: model.answer(image, question).text for question in page.answers}
    return Page(file.getvalue(), image, answers, page.answers, tuple(page.texts.values()))


@contextlib.contextmanager
def serving(model: ScreenModel, record: Path) -> Iterator[str]:
    """Serve the model over HTTP, with a record of all that it is sent, and yield its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(create_app(model, record=record), log_level="error", lifespan="on")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        server.should_exit = True
        thread.join()


@tool
def keep(answer: str) -> str:
    """Keep an answer."""
    return f"kept {answer}"


class Talk:
    """One conversation, in all ways in which a model is called."""

    def __init__(self, seed: int, pages: Sequence[Page], bare: ChatOpenAI, protector: ImageProtector) -> None:
        self._chance = np.random.default_rng((seed, 912))
        self._pages = pages
        self._model = protect(bare, protector, restore=True)
        self._config: Any = {"configurable": {"thread_id": f"talk {seed}"}}
        self._history: list[Any] = []

    async def hold(self) -> list[Answer]:
        """Ask two to six questions; some mention what was answered before."""
        answers: list[Answer] = []
        shown = -1
        for number in range(int(self._chance.integers(2, _TURNS + 1))):
            text = ""
            content: list[Any] = []
            if number == 0 or (self._chance.random() < _AGAIN and shown + 1 < len(self._pages)):
                shown += 1
                encoded = base64.b64encode(self._pages[shown].png).decode()
                content.append({"type": "image", "base64": encoded, "mime_type": "image/png"})
            elif answers and self._chance.random() < 0.5:
                said = answers[-1].got.upper() if self._chance.random() < _LOUD else answers[-1].got
                text = f"{self._chance.choice(_MENTIONS)} {said}. "
            page = self._pages[shown]
            question = str(self._chance.choice([*page.answers]))
            content.insert(0, {"type": "text", "text": text + question})
            self._history.append(HumanMessage(content))
            way = str(self._chance.choice(WAYS))
            got = await getattr(self, way)(question)
            answers.append(Answer(way, question, page.answers[question], got))
        return answers

    async def invoke(self, _: str) -> str:
        return self._noted(self._model.invoke(self._history, self._config))

    async def ainvoke(self, _: str) -> str:
        return self._noted(await self._model.ainvoke(self._history, self._config))

    async def stream(self, _: str) -> str:
        first, *others = self._model.stream(self._history, self._config)
        return self._noted(AIMessage(sum(others, first).text))

    async def astream(self, _: str) -> str:
        chain = self._model | StrOutputParser()
        return self._noted(
            AIMessage("".join([each async for each in chain.astream(self._history, self._config)]))
        )

    async def events(self, _: str) -> str:
        events = self._model.astream_events(self._history, self._config, version="v2")
        pieces = [
            each["data"]["chunk"].text async for each in events if each["event"] == "on_chat_model_stream"
        ]
        return self._noted(AIMessage("".join(pieces)))

    async def call(self, question: str) -> str:
        asked = create_model("keep", answer=(str, Field(description=question)), __doc__="Keep an answer.")
        first, *others = self._model.bind_tools([asked], tool_choice="keep").stream(
            self._history, self._config
        )
        message = sum(others, first)
        (call,) = message.tool_calls
        assert json.loads(message.tool_call_chunks[0]["args"]) == call["args"]
        self._history += [
            AIMessage(message.content, tool_calls=message.tool_calls),
            ToolMessage(keep.invoke(call["args"]), tool_call_id=call["id"]),
        ]
        return str(call["args"]["answer"]) or UNKNOWN

    async def structured(self, question: str) -> str:
        asked = create_model("Reply", answer=(str, Field(description=question)), __doc__="An answer.")
        reply = await self._model.with_structured_output(asked).ainvoke(self._history, self._config)
        self._history.append(AIMessage(reply.model_dump_json()))
        return str(reply.answer) or UNKNOWN

    def _noted(self, answer: AIMessage) -> str:
        self._history.append(answer)
        return answer.text


async def hold_conversations(
    count: int,
    record: Path,
    *,
    first: int = 0,
    each: int = 2,
    attack: Callable[[Image.Image], Sequence[Any]] | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> Findings:
    """Hold conversations, several about the same two pages, and look for private values on the wire.

    Args:
        count: Number of conversations.
        record: File for all that the server is sent.
        first: Seed of the first page.
        each: Number of conversations about the same two pages. They differ in questions, ways and what they mention.
        attack: Reads the pictures that were sent; the protector's reader if ``None``.
        progress: Called with the number of conversations that are done.
    """
    reader = RememberingReader()
    engine = Words(reader=reader, seconds=_SECONDS)
    model = ScreenModel(reader)
    answers: list[Answer] = []
    leaks: list[str] = []
    values = requests = 0
    with serving(model, record) as url:
        bare = ChatOpenAI(model=model.name, base_url=url, api_key="k", max_retries=0)
        protector = ImageProtector(engine, level=LEVEL)
        for pair, start in enumerate(range(0, count, each)):
            pages = [draw_page(first + 2 * pair + place, model) for place in range(2)]
            for seed in range(start, min(count, start + each)):
                answers += await Talk(first + seed, pages, bare, protector).hold()
                progress(seed + 1)
            bodies = _recorded(record, requests)
            hidden = {value for page in pages for value in _hidden_in(engine, page)}
            values, requests = values + len(hidden), requests + len(bodies)
            leaks += _leaks(hidden, bodies, attack or reader.read)
    return Findings(answers, leaks, values, requests)


def _recorded(record: Path, start: int) -> list[Any]:
    """Return the bodies of all requests but the first ones."""
    return [json.loads(line) for line in record.read_bytes().splitlines()[start:]]


def _hidden_in(engine: Words, page: Page) -> Iterator[str]:
    """Yield the private texts of a page, and all values that the protector hides as private ones."""
    found = [value for kind, value in engine.draft(page.image, LEVEL).values if kind in _PRIVATE]
    yield from (each for each in (*page.texts, *found) if len(plain(each)) >= _SHORTEST)


def _leaks(
    hidden: set[str], bodies: Sequence[Any], read: Callable[[Image.Image], Sequence[Any]]
) -> list[str]:
    """Return what can be found of hidden values, in texts and in pictures."""
    found = []
    texts = {plain(text) for body in bodies for text in texts_of(body) if "base64," not in text}
    pictures = {
        each
        for body in bodies
        for each in re.findall(r"data:image/\w+;base64,([A-Za-z0-9+/=]+)", json.dumps(body))
    }
    assert pictures
    for value in hidden:
        found += [f"text: {value}" for text in texts if plain(value) in text]
    for picture in pictures:
        with Image.open(io.BytesIO(base64.b64decode(picture))) as file:
            seen = "".join(plain(each.text) for each in read(file.convert("RGB")))
        for value in map(plain, hidden):
            if value in seen or edits_within(value, seen) <= int(_TOLERANCE * len(value)):
                found.append(f"picture: {value}")
    return found
