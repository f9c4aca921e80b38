"""Whatever a walk meets, only errors of ours come out, and they carry nothing."""

from __future__ import annotations

import collections
import types
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from pydantic import BaseModel, computed_field

from langchain_vpp import ImageProtector, ProtectionError
from langchain_vpp.engines import Pixelate
from langchain_vpp.messages.shielded import shielded
from langchain_vpp.messages.walk import coerce_messages, plan_messages
from langchain_vpp.testing import assert_no_leak
from tests.carriers import b64, data_url
from tests.unit.langchain_vpp.messages.samples import DROP, PICTURE, STRICT

ENCODED = b64(PICTURE)


class Failing:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(ENCODED)


class Classless:
    @property
    def __class__(self) -> Any:
        raise RuntimeError(ENCODED)


class FailingMapping(collections.UserDict[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise RuntimeError(ENCODED)

    def get(self, key: str, default: Any = None) -> Any:
        raise RuntimeError(ENCODED)


class FailingText(str):
    __slots__ = ()

    def __len__(self) -> int:
        raise RuntimeError(ENCODED)

    def __hash__(self) -> int:
        raise RuntimeError(ENCODED)


class Number(int):
    def __lt__(self, other: object) -> bool:
        raise RuntimeError(ENCODED)


THINGS: dict[str, Any] = {
    "lone surrogate in a data URL": {"type": "image_url", "image_url": f"data:image/png,\ud800{ENCODED}"},
    "lone surrogate in base64": {"type": "image", "base64": f"{ENCODED}\ud800"},
    "lone surrogate in text": f"\udc00\ud800{ENCODED}",
    "object": {"type": "text", "text": Failing()},
    "object without a class": {"type": "text", "text": Classless()},
    "mapping": {"type": "image", "source": FailingMapping({"a": ENCODED})},
    "text": FailingText(ENCODED),
    "key": {"type": "text", FailingText("text"): ENCODED}
    if False
    else {"type": "text", "text": FailingText("x")},
    "numbers": {"type": "text", "text": [Number(3)] * 60},
    "huge number": {"type": "text", "text": 10**5_000},
    "not a number": {"type": "text", "text": [float("nan"), float("inf"), -float("inf")] * 500},
    "type": {"type": FailingText("image"), "base64": ENCODED},
    "view": {"type": "image", "base64": memoryview(b"abcdef")[::2]},
}


@pytest.mark.parametrize("policy", [STRICT, DROP], ids=["raise", "drop"])
@pytest.mark.parametrize("thing", THINGS.values(), ids=THINGS)
def test_no_foreign_error_comes_out_of_a_walk(thing: Any, policy: Any) -> None:
    message = HumanMessage("Hi.")
    message.content = [thing]
    for each in (message, ToolMessage("x", tool_call_id="1").model_copy(update={"artifact": [thing]})):
        refusal: ProtectionError | None = None
        try:
            plan_messages([each], policy)
            ImageProtector(Pixelate(), on_unsupported=policy.on_unsupported).protect_messages([each])
        except ProtectionError as error:
            refusal = error
        if refusal is not None:
            assert refusal.__cause__ is refusal.__context__ is None
            assert_no_leak(PICTURE, str(refusal), refusal.args)


class FailingSequence(collections.UserList[Any]):
    def __getitem__(self, index: Any) -> Any:
        raise RuntimeError(ENCODED)


@pytest.mark.parametrize("value", [FailingSequence([1]), [FailingMapping({"role": "user"})]])
def test_no_foreign_error_comes_out_of_reading_an_input(value: Any) -> None:
    with pytest.raises(ProtectionError) as refusal:
        ImageProtector(Pixelate()).protect_messages(coerce_messages(value))
    assert refusal.value.__cause__ is refusal.value.__context__ is None


def test_a_shield_replaces_errors_and_keeps_results() -> None:
    @shielded("the work")
    def work(error: BaseException | None) -> str:
        if error is not None:
            raise error
        return "done"

    assert work(None) == "done"
    own = ProtectionError("Nothing was sent.")
    own.__cause__ = ValueError(ENCODED)
    for error in (own, UnicodeEncodeError("utf-8", ENCODED, 0, 1, "x"), RecursionError(ENCODED)):
        with pytest.raises(ProtectionError) as refusal:
            work(error)
        assert refusal.value.__cause__ is refusal.value.__context__ is None
        assert_no_leak(PICTURE, str(refusal.value), refusal.value.args)
    with pytest.raises(KeyboardInterrupt):
        work(KeyboardInterrupt())


def _pretender(module: str) -> type[BaseMessage]:
    """A message class of another package that shows other content than it holds."""

    def body(namespace: dict[str, Any]) -> None:
        namespace["__module__"] = module
        namespace["text"] = property(lambda _: data_url(PICTURE))

    return types.new_class("AIMessage", (AIMessage,), {}, body)


@pytest.mark.parametrize(
    "module",
    [
        "langchain_core_extras",
        "langchain_corex.messages",
        "typing_evil",
        "abcdef",
        "langchain_core.messages.ai",
    ],
)
def test_a_class_counts_as_langchains_only_if_it_stands_in_its_package(module: str) -> None:
    with pytest.raises(ProtectionError, match="class"):
        plan_messages([_pretender(module)("Hi.")], STRICT)


class Showing(HumanMessage):
    @computed_field  # type: ignore[prop-decorator]
    @property
    def preview(self) -> str:
        return data_url(PICTURE)


class Shown(BaseModel):
    title: str = "x"

    @computed_field  # type: ignore[prop-decorator]
    @property
    def preview(self) -> str:
        return data_url(PICTURE) if self.title == "x" else "none"


def test_computed_fields_are_content() -> None:
    for message in (Showing("Hi."), ToolMessage("x", tool_call_id="1", artifact=[Shown()])):
        with pytest.raises(ProtectionError):
            plan_messages([message], STRICT)
    fine = ToolMessage("x", tool_call_id="1", artifact=[Shown(title="y")])
    assert ImageProtector(Pixelate()).protect_messages([fine]) == [fine]
