# %% [markdown]
# # 15. A level for each request
#
# One protected model serves requests of different need. A request can only ask for more protection than the protector's
# own level, unless `min_level` lets it ask for less. So the level may come from a client, and the floor is yours.

# %%
from typing import Any

from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import HumanMessage
from PIL import Image

from langchain_vpp import ImageProtector, ProtectionError, image_block, protect
from langchain_vpp.engines import Pixelate

picture = Image.effect_noise((320, 240), 80).convert("RGB")  # stands for yours
question = [HumanMessage([{"type": "text", "text": "What is here?"}, image_block(picture)])]
replies = ["a street"] * 20


def level_of(model: Any, wanted: float | str | None = None) -> float:
    options = {} if wanted is None else {"config": {"configurable": {"vpp_level": wanted}}}
    return model.invoke(question, **options).response_metadata["vpp"]["images"][0]["level"]


strict = protect(FakeListChatModel(responses=replies), ImageProtector(Pixelate(), level=0.5))
print("asked for nothing, 0.9 and 0.1:", [level_of(strict, wanted) for wanted in (None, 0.9, 0.1)])
assert [level_of(strict, wanted) for wanted in (None, 0.9, 0.1)] == [0.5, 0.9, 0.5]

# %% [markdown]
# `min_level` opens the way down, and ends it.

# %%
open_down = protect(
    FakeListChatModel(responses=replies), ImageProtector(Pixelate(), level=0.5, min_level=0.3)
)
assert [level_of(open_down, wanted) for wanted in (0.4, 0.1)] == [0.4, 0.3]

# %% [markdown]
# Artifacts have presets, which a request can name. What is no level is refused, and nothing is sent.

# %%
photographs = protect(FakeListChatModel(responses=replies), ImageProtector.from_pretrained("photographs"))
print("the preset `high` is level", level_of(photographs, "high"))
assert level_of(photographs, "high") == 1.0
try:
    level_of(photographs, "hihg")
except ProtectionError as error:
    print(error)
else:
    raise AssertionError("a level that there is not was taken")

# %% [markdown]
# A policy of your own is one function: it reads what you know of the request, never what the client claims.


# %%
def level_for(user: str) -> float:
    return {"guest": 1.0, "staff": 0.7}.get(user, 0.5)


assert [level_of(strict, level_for(user)) for user in ("guest", "staff", "owner")] == [1.0, 0.7, 0.5]
