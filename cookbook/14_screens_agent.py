# %% [markdown]
# # 14. An agent that looks at a screen
#
# Each step of such an agent is a screenshot, which a tool returns. Protect the tool, and the model is shown protected
# screens only; positions stay those of the real screen, so that clicks land where they should. It needs the extra
# `agents`.

# %%
import base64
import io
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolCall
from langchain_core.tools import tool
from PIL import Image, ImageDraw, ImageFont

from langchain_vpp import ImageProtector, protect_tool
from langchain_vpp.engines import Downscale
from langchain_vpp.middleware import VisualPrivacyMiddleware

BUTTON = (980, 700, 1180, 760)

desktop = Image.new("RGB", (1280, 800), "white")
pen = ImageDraw.Draw(desktop)
pen.text((80, 80), "From: Odrana Velori", "black", ImageFont.load_default(24))
pen.rectangle(BUTTON, fill="green")
clicks: list[tuple[int, int]] = []


@tool
def screenshot() -> Image.Image:
    """Take a picture of the screen."""
    return desktop


@tool
def click(x: int, y: int) -> str:
    """Click at a position of the screen."""
    clicks.append((x, y))
    return "clicked"


# %% [markdown]
# `Downscale` runs anywhere. In earnest take `ImageProtector.from_pretrained("screens")` (extra `words`), which keeps
# menus and buttons readable and covers names.

# %%
protector = ImageProtector(Downscale(), level=0.6)


def calls(name: str, **arguments: int) -> AIMessage:
    return AIMessage("", tool_calls=[ToolCall(name=name, args=arguments, id=name)])


replies = [calls("screenshot"), calls("click", x=1080, y=730), AIMessage("Sent.")]
shown: list[HumanMessage] = []


class Model(GenericFakeChatModel):
    """Stands for your chat model; keeps what it is shown."""

    def bind_tools(self, *_: Any, **__: Any) -> Any:
        return self

    def _generate(self, messages: Any, *rest: Any, **options: Any) -> Any:
        shown[:] = messages
        return super()._generate(messages, *rest, **options)


agent = create_agent(
    Model(messages=iter(replies)),
    [protect_tool(screenshot, protector), click],
    middleware=[VisualPrivacyMiddleware(protector)],  # for pictures from elsewhere, such as the user's
)
answer = agent.invoke({"messages": [HumanMessage("Send the mail.")]})
print(answer["messages"][-1].text)

# %% [markdown]
# The model saw a screen of the same size, with the button where it is and a name that nobody reads.

# %%
(block,) = next(
    message.content for message in shown if message.type == "tool" and message.name == "screenshot"
)
seen = Image.open(io.BytesIO(base64.b64decode(block["base64"]))).convert("RGB")
print(f"the model saw {seen.width} x {seen.height} pixels and clicked at {clicks}")
assert seen.size == desktop.size
assert clicks == [(1080, 730)]
red, green, blue = seen.getpixel(clicks[0])
assert green > red + 60
assert green > blue + 60
