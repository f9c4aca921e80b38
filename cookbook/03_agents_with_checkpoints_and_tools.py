# %% [markdown]
# # 3. Agents with checkpoints and tools
#
# An agent records more than a chain: every run goes to the tracer, every step to the checkpoint, and tools bring
# pictures of their own. Here a tool takes one picture, and the user brings another. At the end neither is found on the
# wire, in the callbacks or in the checkpoint file.

# %%
import base64
import io
import json
import random
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import HumanMessage
from langchain_core.stores import InMemoryByteStore
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.sqlite import SqliteSaver
from PIL import Image

from langchain_vpp import ImageProtector, ProtectionError, protect, protect_tool
from langchain_vpp.engines import Pixelate
from langchain_vpp.middleware import VisualPrivacyMiddleware
from langchain_vpp.testing import assert_no_leak

# %% [markdown]
# The provider is a local server that keeps every byte it gets. It calls the first tool once, then it answers.

# %%
wire: list[bytes] = []


class Provider(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        wire.append(body)
        request = json.loads(body)
        if request.get("tools") and request["messages"][-1]["role"] != "tool":
            function = {"name": request["tools"][0]["function"]["name"], "arguments": '{"place": "hall"}'}
            message = {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
            }
        else:
            message = {"role": "assistant", "content": "Two pictures of something private."}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        answer = {
            "id": "1",
            "object": "chat.completion",
            "created": 1,
            "model": request["model"],
            "choices": [choice],
        }
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
model = ChatOpenAI(model="m", base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="none")

# %% [markdown]
# Two canaries, pictures of random pixels: no part of them turns up anywhere by chance.


# %%
def noise(seed: int) -> bytes:
    encoded = io.BytesIO()
    pixels = random.Random(seed).randbytes(32 * 32 * 3)  # noqa: S311  no secret
    Image.frombytes("RGB", (32, 32), pixels).save(encoded, "PNG")
    return encoded.getvalue()


def block(picture: bytes) -> dict[str, str]:
    return {"type": "image", "base64": base64.b64encode(picture).decode(), "mime_type": "image/png"}


def question(image: dict[str, str]) -> dict[str, list[HumanMessage]]:
    return {"messages": [HumanMessage([{"type": "text", "text": "Who is this?"}, image])]}


UPLOAD, PHOTO = noise(1), noise(2)


@tool
def camera(place: str) -> list[dict[str, str]]:
    """Take a picture of a place."""
    return [{"type": "text", "text": f"The {place}:"}, block(PHOTO)]


class Recorder(BaseCallbackHandler):
    """Stands for any tracer."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def on_chain_start(self, *args: object, **_: object) -> None:
        self.seen.append(args)

    def on_chat_model_start(self, *args: object, **_: object) -> None:
        self.seen.append(args)

    def on_tool_end(self, output: object, **_: object) -> None:
        self.seen.append(output)


# %% [markdown]
# ## The whole agent, protected
#
# `protect(agent)` cleans the input before the agent's own run and its first checkpoint record it; `protect_tool` cleans
# what a tool returns before the tool's run records it. `on_upstream_trace="raise"` refuses a request whose original an
# enclosing run has recorded.

# %%
protector = ImageProtector(Pixelate(), level=0.7, on_upstream_trace="raise", store=InMemoryByteStore())
folder = Path(tempfile.mkdtemp())

recorder = Recorder()
with SqliteSaver.from_conn_string(str(folder / "agent.sqlite")) as saver:
    bare = create_agent(model, [protect_tool(camera, protector)], checkpointer=saver)
    agent = protect(bare, protector)
    config = {"configurable": {"thread_id": "1"}, "callbacks": [recorder]}
    result = agent.invoke(question(block(UPLOAD)), config)
    agent.update_state({"configurable": {"thread_id": "1"}}, question(block(UPLOAD)))

assert len(wire) == 2
assert wire[-1].count(b"data:image/jpeg;base64,") == 2  # both pictures were sent: protected
for picture in (UPLOAD, PHOTO):
    assert_no_leak(picture, wire, recorder.seen, result, folder)
print("protected agent:", result["messages"][-1].text)

# %% [markdown]
# On the bare agent the same check fails for every sink. A check that can't fail proves nothing.

# %%
wire.clear()
recorder = Recorder()
with SqliteSaver.from_conn_string(str(folder / "bare.sqlite")) as saver:
    config = {"configurable": {"thread_id": "1"}, "callbacks": [recorder]}
    create_agent(model, [camera], checkpointer=saver).invoke(question(block(UPLOAD)), config)
for sink in (wire, recorder.seen, folder):
    try:
        assert_no_leak(UPLOAD, sink)
    except AssertionError as error:
        print("bare agent:", str(error).split(":")[0])
    else:
        raise SystemExit("the harness is blind")

# %% [markdown]
# ## Sealed handles
#
# Where you can't put `protect` around everything, keep pixels out of the input: `seal` puts the original into your
# store and returns a handle. The handle is resolved, and the picture protected, where the messages enter the protected
# model. The agent here is bare: its trace and its checkpoint hold `vpp://...`, and the provider gets the protected
# picture.

# %%
wire.clear()
recorder = Recorder()
sealed = protector.seal(UPLOAD)
with SqliteSaver.from_conn_string(str(folder / "sealed.sqlite")) as saver:
    agent = create_agent(protect(model, protector), [], checkpointer=saver)
    config = {"configurable": {"thread_id": "1"}, "callbacks": [recorder]}
    result = agent.invoke(question(sealed), config)
assert b"data:image/jpeg;base64," in wire[0]
assert_no_leak(UPLOAD, wire, recorder.seen, result, folder / "sealed.sqlite")
print("sealed:", sealed["url"][:16], "...")

# %% [markdown]
# ## The middleware
#
# `VisualPrivacyMiddleware` protects every model call and every tool call, with a bare model and bare tools. It keeps
# the wire and every key of the state clean, but the agent has recorded its own input before any middleware runs. So
# use it inside a protected agent, or with sealed handles. The receipt says what left.

# %%
wire.clear()
agent = protect(
    create_agent(model, [camera], middleware=[VisualPrivacyMiddleware(protector)]),
    protector,
)
result = agent.invoke(question(block(UPLOAD)), {"configurable": {"vpp_level": 0.9}})
for picture in (UPLOAD, PHOTO):
    assert_no_leak(picture, wire, result)
receipt = result["messages"][-1].response_metadata["vpp"]
assert [image["level"] for image in receipt["images"]] == [0.9, 0.9]
print("receipt:", receipt["engine"], [image["sha256"][:8] for image in receipt["images"]])

# %% [markdown]
# It must stand first, so that no other middleware sees an original. A summarizer, which calls a model of its own, is
# refused in front of it and welcome behind it.

# %%
privacy = VisualPrivacyMiddleware(protector)
summarizer = SummarizationMiddleware(model, trigger=("messages", 50))
try:
    create_agent(model, [camera], middleware=[summarizer, privacy])
except ProtectionError as error:
    print("refused:", error)
else:
    raise SystemExit("a summarizer would have seen originals")
create_agent(model, [camera], middleware=[privacy, summarizer])

server.shutdown()
