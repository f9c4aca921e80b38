# %% [markdown]
# # 4. Tracing without leaks
#
# A protected model gives its tracer protected pictures only. But a run that you open *around* it (a prompt, a loader, a
# graph) records its input before the model sees it. This recipe shows the leak, the refusal, and three ways to close
# it.

# %%
import base64
import io
import json
import random
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import HumanMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.tracers import LangChainTracer
from langchain_openai import ChatOpenAI
from langsmith import Client
from PIL import Image

from langchain_vpp import ImageProtector, ProtectionError, TraceLeakWarning, protect
from langchain_vpp.engines import Pixelate
from langchain_vpp.testing import assert_no_leak
from langchain_vpp.tracing import RedactingCallbackHandler, media_anonymizer, redacting_client

# %% [markdown]
# One local server stands for both the provider (under `/v1`) and LangSmith (elsewhere). It keeps all that it gets.

# %%
provider: list[bytes] = []
langsmith: list[bytes] = []


class Sink(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer({"version": "1", "batch_ingest_config": {"use_multipart_endpoint": False}})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/v1/"):
            provider.append(body)
            message = {"role": "assistant", "content": "A cat."}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self.answer({"id": "1", "object": "chat.completion", "model": "m", "choices": [choice]})
        else:
            langsmith.append(body)
            self.answer({})

    do_PATCH = do_POST  # noqa: N815  the name is http.server's

    def answer(self, value: object) -> None:
        payload = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}"

noise = random.Random(4).randbytes(32 * 32 * 3)  # noqa: S311  no secret
encoded = io.BytesIO()
Image.frombytes("RGB", (32, 32), noise).save(encoded, "PNG")
CANARY = encoded.getvalue()
image = {"type": "image", "base64": base64.b64encode(CANARY).decode(), "mime_type": "image/png"}
question = {"messages": [HumanMessage([{"type": "text", "text": "What is it?"}, image])]}


def leaks(sink: object) -> bool:
    try:
        assert_no_leak(CANARY, sink)
    except AssertionError:
        return True
    return False


def tracer(**options: object) -> LangChainTracer:
    langsmith.clear()
    return LangChainTracer(
        client=Client(api_url=address, api_key="none", auto_batch_tracing=False, **options)
    )


# %% [markdown]
# ## The leak
#
# In `prompt | model` the sequence opens a run, and the input of that run is the original. The wire is clean and the
# trace is not. The protected model notices that a run with handlers is open above it, and refuses. Here we want to see
# the leak, so the protector is told to warn.

# %%
warning = ImageProtector(Pixelate(), level=0.7, on_upstream_trace="warn")
model = protect(ChatOpenAI(model="m", base_url=f"{address}/v1", api_key="none"), warning)
prompt = ChatPromptTemplate([("system", "Be brief."), MessagesPlaceholder("messages")])

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", TraceLeakWarning)
    (prompt | model).invoke(question, {"callbacks": [tracer()]})
assert [warning.category for warning in caught] == [TraceLeakWarning]
assert not leaks(provider)
assert leaks(langsmith)
print("warned:", str(caught[0].message).split(".")[0])

# From here on the protector refuses, as it does by default.
protector = ImageProtector(Pixelate(), level=0.7)
bare = ChatOpenAI(model="m", base_url=f"{address}/v1", api_key="none")
try:
    (prompt | protect(bare, protector)).invoke(question, {"callbacks": [tracer()]})
except ProtectionError as error:
    print("refused:", str(error).split(".")[0])
else:
    raise SystemExit("the leak into the trace was not noticed")
provider.clear()
langsmith.clear()

# %% [markdown]
# ## 1. Protect the outermost runnable
#
# The trace stays whole: prompt, model and answer, with the picture that the provider saw.

# %%
chain = protect(prompt | bare, protector)
answer = chain.invoke(question, {"callbacks": [tracer()]})
assert not leaks([provider, langsmith])
sent = answer.response_metadata["vpp"]["images"][0]["sha256"]
assert any(b"/9j/" in body for body in langsmith)  # a JPEG: the protected one
print("traced whole; sent", sent[:12])

# %% [markdown]
# A picture in a variable of the prompt is sealed where it enters the chain: the trace holds a handle.

# %%
picture_prompt = ChatPromptTemplate(
    [("human", [{"type": "image_url", "image_url": {"url": "data:image/png;base64,{picture}"}}])]
)
picture = base64.b64encode(CANARY).decode()
protect(picture_prompt | bare, protector).invoke({"picture": picture}, {"callbacks": [tracer()]})
assert not leaks([provider, langsmith])
assert any(b"vpp://" in body for body in langsmith)
print("sealed")

# %% [markdown]
# ## 2. A LangSmith client without media
#
# Where you can't protect the outermost runnable, `redacting_client` takes every picture out of a run, protected
# pictures too: inputs, outputs, errors, metadata, attachments, tags, events and feedback. The protector can't see what
# the client of a tracer does, so `on_upstream_trace="ignore"` says that you know.

# %%
knowing = ImageProtector(Pixelate(), level=0.7, on_upstream_trace="ignore")
bare_chain = prompt | protect(bare, knowing)
langsmith.clear()
client = redacting_client(api_url=address, api_key="none", auto_batch_tracing=False)
bare_chain.invoke(question, {"callbacks": [LangChainTracer(client=client)]})
assert not leaks([provider, langsmith])
assert any(b"[media removed]" in body for body in langsmith)
assert any(b"What is it?" in body for body in langsmith)  # text is kept

# %% [markdown]
# A client of your own with `media_anonymizer()` covers inputs, outputs, errors and metadata. `hide_inputs` alone would
# leave outputs and errors. Neither covers tags and attachments.

# %%
bare_chain.invoke(question, {"callbacks": [tracer(anonymizer=media_anonymizer())]})
assert not leaks([provider, langsmith])
bare_chain.invoke(question, {"callbacks": [tracer(anonymizer=media_anonymizer())], "tags": ["a tag"]})
assert any(b"a tag" in body for body in langsmith)  # it went past the anonymizer

# %% [markdown]
# ## 3. A wrapper around any handler
#
# `RedactingCallbackHandler` does the same for any other callback handler. The protector knows it.


# %%
class Diary(BaseCallbackHandler):
    def __init__(self) -> None:
        self.pages: list[object] = []

    def on_chain_start(self, *args: object, **_: object) -> None:
        self.pages.append(args)

    def on_chat_model_start(self, *args: object, **_: object) -> None:
        self.pages.append(args)


diary, naked = Diary(), Diary()
(prompt | protect(bare, protector)).invoke(question, {"callbacks": [RedactingCallbackHandler(diary)]})
bare_chain.invoke(question, {"callbacks": [naked]})
assert diary.pages
assert not leaks(diary.pages)
assert leaks(naked.pages)
print("redacted:", len(diary.pages), "events")

server.shutdown()
