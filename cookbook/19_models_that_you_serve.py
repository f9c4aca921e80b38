# %% [markdown]
# # 19. Models that you serve yourself
#
# vLLM, llama.cpp, TGI and Ollama speak OpenAI's protocol, with habits of their own. Here a server of a few lines
# answers as vLLM does with a model that thinks: thoughts in a field of their own, and no count of tokens in a stream.
# Protection is worth having there too, where logs, caches or operators are not yours.

# %%
import base64
import json
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from PIL import Image

from langchain_vpp import ImageProtector, image_block, protect
from langchain_vpp.engines import Pixelate

bodies = []


class Server(BaseHTTPRequestHandler):  # stands for your server
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        bodies.append(json.dumps(asked))
        said = {"role": "assistant", "content": "a red sign", "reasoning_content": "It is red."}
        shared = {"id": "chatcmpl-1", "created": 0, "model": asked["model"]}
        if asked.get("stream"):
            choice = {"index": 0, "delta": said, "finish_reason": "stop"}
            event = json.dumps({**shared, "object": "chat.completion.chunk", "choices": [choice]})
            self._send(f"data: {event}\n\ndata: [DONE]\n\n", "text/event-stream")
        else:
            choice = {"index": 0, "message": said, "finish_reason": "stop"}
            self._send(
                json.dumps({**shared, "object": "chat.completion", "choices": [choice]}), "application/json"
            )

    def _send(self, text: str, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()

# %% [markdown]
# The client is the usual one, with `base_url`. Everything else is as with a provider.

# %%
photo = Path(tempfile.mkdtemp()) / "photo.png"  # stands for your picture
Image.effect_noise((320, 240), 60).convert("RGB").save(photo)
served = ChatOpenAI(
    model="Qwen/Qwen2.5-VL-7B-Instruct",
    base_url=f"http://127.0.0.1:{server.server_port}/v1",
    api_key="none",
)
model = protect(served, ImageProtector(Pixelate(), level=0.6))
question = [HumanMessage([{"type": "text", "text": "What is it?"}, image_block(photo)])]
answer = model.invoke(question)
print(answer.text)
assert answer.text == "a red sign"
assert "".join(chunk.text for chunk in model.stream(question)) == "a red sign"

# %% [markdown]
# The server has seen the protected picture alone, twice the same bytes, so that its cache of prompts stays warm.

# %%
original = base64.b64encode(photo.read_bytes()).decode()
assert all(original not in body for body in bodies)
pictures = {part for body in bodies for part in body.split('"') if part.startswith("data:image/")}
assert len(pictures) == 1
server.shutdown()
