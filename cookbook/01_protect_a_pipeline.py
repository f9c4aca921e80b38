# %% [markdown]
# # 1. Protect a pipeline
#
# Put a protector in front of a chat model. The provider, the tracer and the cache see the protected picture only.
# The provider here is the embedded sandbox, a local server with OpenAI's interface: no key and no network is needed.

# %%
import base64
import io

import numpy as np
from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_openai import ChatOpenAI

from langchain_vpp import ImageProtector, ProtectionError, protect
from langchain_vpp.engines import Pixelate
from trainer.sandbox.drawing.scenes import draw_scene
from trainer.sandbox.process import SandboxServer

scene, truth = draw_scene(np.random.default_rng(7))
buffer = io.BytesIO()
scene.save(buffer, "PNG")
picture = buffer.getvalue()


def ask(question: str) -> list[HumanMessage]:
    """One message with a question and the picture, as any LangChain program would build it."""
    image = {"type": "image", "base64": base64.b64encode(picture).decode(), "mime_type": "image/png"}
    return [HumanMessage([{"type": "text", "text": question}, image])]


# %% [markdown]
# A classical engine needs no training. `ImageProtector.from_pretrained("runs/cards")` would load a trained protector.

# %%
protector = ImageProtector(Pixelate(), level=0.6)

with SandboxServer() as server:
    model = ChatOpenAI(model="sandbox", base_url=server.base_url, api_key="sandbox")

    # The pipeline in one line. The protected model stands first, so no run of the chain holds the original.
    chain = protector | model | StrOutputParser()
    print("protected:", chain.invoke(ask("What colour is the sign?")), "| truth:", truth["sign_colour"])

    # A protected chat model of the same class, with streaming, tools, structured output and retries.
    protected_model = protect(model, protector)
    assert isinstance(protected_model, ChatOpenAI)
    answer = protected_model.invoke(ask("Which number is on the person's shirt?"))
    print("protected:", answer.text, "| truth:", truth["shirt_number"])

    # %% [markdown]
    # The receipt says what left: the sha256 of the protected picture, its level and the engine. It does not name the
    # original.

    # %%
    print(answer.response_metadata["vpp"])
    assert answer.response_metadata["vpp"]["images"][0]["level"] == 0.6

    # %% [markdown]
    # A request may ask for more privacy, never for less than `min_level`.

    # %%
    private = chain.invoke(ask("What colour is the sign?"), config={"configurable": {"vpp_level": 1.0}})
    print("at level 1:", private)

    # %% [markdown]
    # What can't be protected is refused before anything is sent. Here it is a picture that the provider would fetch.

    # %%
    before = server.stats()["completions"]
    remote = HumanMessage([{"type": "image", "url": "https://example.com/me.jpg"}])
    try:
        chain.invoke([remote])
    except ProtectionError as error:
        print("refused:", error)
    else:
        raise SystemExit("a remote picture was not refused")
    assert server.stats()["completions"] == before
