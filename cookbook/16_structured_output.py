# %% [markdown]
# # 16. Structured output
#
# `protect` keeps the class of a chat model, so `with_structured_output` works as before: the picture is protected, and
# the answer is an object of yours.

# %%
from typing import Any

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolCall
from PIL import Image
from pydantic import BaseModel, Field

from langchain_vpp import ImageProtector, image_block, protect
from langchain_vpp.engines import Pixelate


class Scene(BaseModel):
    """Contents of a picture."""

    place: str = Field(description="indoors or outdoors")
    people: int


class Model(GenericFakeChatModel):
    """Stands for your chat model; answers by a call of the tool that the schema becomes."""

    def bind_tools(self, tools: Any, **options: Any) -> Any:
        return self.bind(tools=tools, **options)


fields = {"place": "outdoors", "people": 2}
reply = AIMessage("", tool_calls=[ToolCall(name="Scene", args=fields, id="1")])
model = protect(Model(messages=iter([reply, reply])), ImageProtector(Pixelate(), level=0.6))

picture = Image.effect_noise((320, 240), 80).convert("RGB")  # stands for yours
question = [HumanMessage([{"type": "text", "text": "Describe the scene."}, image_block(picture)])]
scene = model.with_structured_output(Scene).invoke(question)
print(scene)
assert scene == Scene(**fields)

# %% [markdown]
# An object has no place for a receipt. `include_raw=True` returns the message beside it, and the receipt in that.

# %%
both = model.with_structured_output(Scene, include_raw=True).invoke(question)
receipt = both["raw"].response_metadata["vpp"]
print(both["parsed"], receipt["images"][0]["level"])
assert both["parsed"] == scene
assert receipt["images"][0]["level"] == 0.6
