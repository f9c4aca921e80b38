# %% [markdown]
# # 8. Letters with real names
#
# A letter is summarised and answered by a model that never sees a name, and a screenshot agent clicks on a contact that
# it knows by a token only. The real names come back on this side: in the summary, in the answer, and in the calls of
# tools.

# %%
import base64
import io
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from PIL import Image, ImageDraw, ImageFont

from langchain_vpp import ImageProtector, protect
from langchain_vpp.engines.words import Word, Words
from langchain_vpp.middleware import VisualPrivacyMiddleware

# %% [markdown]
# Pictures are drawn here, so their words are known. In your program leave this part out, and say
# `ImageProtector.from_pretrained("screens")`: it reads pictures with RapidOCR.

# %%
FONT = ImageFont.load_default(18)
drawn: dict[bytes, list[Word]] = {}


def draw(*lines: str) -> Image.Image:
    picture = Image.new("RGB", (640, 40 + 40 * len(lines)), "white")
    pen, words = ImageDraw.Draw(picture), []
    for number, line in enumerate(lines):
        left = 30.0
        for text in line.split():
            width, top = pen.textlength(text, font=FONT), 20 + 40 * number
            pen.text((left, top), text, fill="black", font=FONT)
            words.append(Word(text, (left, top, left + width, top + 22), 0.99, number))
            left += width + 6
    drawn[picture.tobytes()] = words
    return picture


class Given:
    def read(self, image: Image.Image) -> list[Word]:
        return drawn.get(image.tobytes(), [])


def block(picture: Image.Image) -> dict[str, str]:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return {"type": "image", "base64": base64.b64encode(file.getvalue()).decode(), "mime_type": "image/png"}


protector = ImageProtector(Words(reader=Given()), level=0.5)

# %% [markdown]
# The provider is a local server that keeps every byte. It stands for a model that reads the tokens on the pictures: its
# answers are what such a model says.

# %%
wire: list[bytes] = []
script: list[str | dict[str, object]] = []


class Provider(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        wire.append(self.rfile.read(int(self.headers["Content-Length"])))
        said = script.pop(0)
        message: dict[str, object] = {"role": "assistant", "content": said if isinstance(said, str) else None}
        if isinstance(said, dict):
            function = {"name": said["name"], "arguments": json.dumps(said["arguments"])}
            message["tool_calls"] = [{"id": f"call_{len(wire)}", "type": "function", "function": function}]
        answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "m",
                  "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}  # fmt: skip
        payload = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
threading.Thread(target=server.serve_forever, daemon=True).start()
bare = ChatOpenAI(
    model="gpt-4o", base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="none", max_retries=0
)


def check_wire() -> None:
    sent = re.sub(rb"[^a-z0-9]", b"", b"".join(wire).lower())
    for hidden in (b"lovelace", b"kowalczyk", b"de89370400440532013000"):
        assert hidden not in sent, "a hidden value left"


# %% [markdown]
# ## A letter is summarised and answered
#
# The model says `NAME_1`, and we read the name. The summary goes back as history, and the question names the sender: to
# the provider both leave as tokens.

# %%
letter = draw(
    "Name: Ada Lovelace",
    "IBAN: DE89 3704 0044 0532 0130 00",
    "thank you for the letter",
)
model = protect(bare, protector, restore=True)
thread = {"configurable": {"thread_id": "letter"}}
history = [HumanMessage([{"type": "text", "text": "Summarise this letter."}, block(letter)])]
script += ["**NAME_1** says thank you. The account is IBAN_1.", "Dear Name_1,\n\nwe have paid to IBAN_1."]

history.append(model.invoke(history, thread))
print(history[-1].text)
assert history[-1].text == "**Ada Lovelace** says thank you. The account is DE89 3704 0044 0532 0130 00."

history.append(HumanMessage("Answer ada lovelace: we have paid to DE89370400440532013000."))
reply = model.invoke(history, thread)
print(reply.text)
assert reply.text.startswith("Dear Ada Lovelace,")
assert b"Answer NAME_1: we have paid to IBAN_1." in wire[-1]
check_wire()

# %% [markdown]
# ## A screenshot agent clicks by name
#
# `screenshot` returns a picture, as tools of computer use and of MCP servers do. `click` runs on this side, so it gets
# the name that stands on the screen.

# %%
screen = draw("Name: Jan Kowalczyk", "Name: Ada Lovelace", "Cancel")
clicked: list[str] = []


@tool
def screenshot() -> list[dict[str, str]]:
    """Take a picture of the screen."""
    return [block(screen)]


@tool
def click(on: str) -> str:
    """Click on a text of the screen."""
    clicked.append(on)
    return f"Clicked on {on}."


script += [
    {"name": "screenshot", "arguments": {}},
    {"name": "click", "arguments": {"on": "NAME_1"}},
    "The contact of NAME_1 is open.",
]
agent = create_agent(bare, [screenshot, click], middleware=[VisualPrivacyMiddleware(protector, restore=True)])
result = protect(agent, protector, restore=True).invoke(
    {"messages": [HumanMessage("Open the first contact.")]}
)
print(clicked, result["messages"][-1].text)
assert clicked == ["Jan Kowalczyk"]
assert result["messages"][-1].text == "The contact of Jan Kowalczyk is open."
assert b"Clicked on NAME_1." in wire[-1]
check_wire()
server.shutdown()
