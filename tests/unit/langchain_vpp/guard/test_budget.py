"""The budget of a request: counted before work, in one place, and named in every refusal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import HumanMessage

from langchain_vpp import ImageProtector, ProtectionError, RequestBudget
from langchain_vpp.engines import Pixelate
from langchain_vpp.guard import budget, gate
from tests.unit.langchain_vpp.guard.samples import Counting, Seeing, gradient, human

if TYPE_CHECKING:
    from PIL import Image

OPTIONS = set(RequestBudget.__slots__)


def refusal(protector: ImageProtector, messages: Any) -> str:
    with pytest.raises(ProtectionError) as caught:
        protector.protect_messages(messages)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return str(caught.value)


def urls(count: int, *, same: bool = False) -> list[HumanMessage]:
    address = "https://example.org/{}.png"
    return [HumanMessage([{"type": "image", "url": address.format(0 if same else n)} for n in range(count)])]


def test_a_budget_is_frozen() -> None:
    with pytest.raises(AttributeError):
        RequestBudget().pictures = 7  # type: ignore[misc]


@pytest.mark.parametrize("option", sorted(OPTIONS))
@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan"), "9", None, True])
def test_a_bound_that_is_no_positive_number_is_refused(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=option):
        RequestBudget(**{option: value})


def test_only_a_budget_is_taken_for_one() -> None:
    with pytest.raises(TypeError, match="budget"):
        ImageProtector(Pixelate(), budget=5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("option", "bound"),
    [("pictures", 2), ("pixels", 2_999), ("max_pixels", 999), ("bytes", 300), ("seconds", 1e-6)],
)
def test_each_bound_stops_a_request_before_the_work_and_names_its_option(option: str, bound: float) -> None:
    engine = Counting()
    enough = ImageProtector(engine)
    pictures = [gradient(40, 25 + number) for number in range(3)]
    enough.protect_messages(human(*pictures))
    before = len(engine.calls)
    said = refusal(ImageProtector(engine, budget=RequestBudget(**{option: bound})), human(*pictures))
    assert f"raise {option}" in said
    assert "RequestBudget" in said
    assert len(engine.calls) < before + len(pictures)


def test_a_request_is_refused_by_its_length_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "_ALWAYS_READ", 10_000)
    protector = ImageProtector(Pixelate(), budget=RequestBudget(bytes=5_000))
    blocks: list[Any] = [{"type": "text", "text": "So be it. " * 600}]
    assert protector.protect_messages([HumanMessage(blocks), HumanMessage(blocks)])
    monkeypatch.setattr(gate, "message_state", None)
    assert "raise bytes" in refusal(protector, [HumanMessage(blocks)] * 3)


def test_pictures_that_are_known_from_an_earlier_turn_do_not_count() -> None:
    protector = ImageProtector(Pixelate(), budget=RequestBudget(pictures=1))
    history: list[Any] = []
    for number in range(5):
        history += human(gradient(30 + number, 20))
        protector.protect_messages(history)


def test_pictures_by_address_are_counted_before_one_is_fetched() -> None:
    fetched: list[str] = []

    def fetch(url: str) -> bytes:
        fetched.append(url)
        return gradient(20, 20)

    protector = ImageProtector(
        Pixelate(), on_remote_url="fetch", fetch=fetch, budget=RequestBudget(pictures=9)
    )
    assert "raise pictures" in refusal(protector, urls(10))
    assert not fetched
    protector.protect_messages(urls(10, same=True))
    assert len(fetched) == 1


def test_pictures_by_address_are_fetched_side_by_side_within_one_budget_of_bytes() -> None:
    def fetch(url: str) -> bytes:
        time.sleep(0.2)
        return gradient(20, 20)

    protector = ImageProtector(Pixelate(), on_remote_url="fetch", fetch=fetch)
    started = time.perf_counter()
    protector.protect_messages(urls(24))
    assert time.perf_counter() - started < 24 * 0.2 / 2
    small = RequestBudget(bytes=3 * len(gradient(20, 20)))
    assert "raise bytes" in refusal(
        ImageProtector(Pixelate(), on_remote_url="fetch", fetch=fetch, budget=small), urls(4)
    )


def test_the_time_of_a_request_ends_the_wait_for_an_engine_and_for_a_server() -> None:
    def slow(*_: Any) -> Any:
        time.sleep(1.5)
        return gradient(20, 20)

    class Slow(Seeing):
        def protect(self, image: Image.Image, level: float) -> Image.Image:
            slow()
            return super().protect(image, level)

    budget = RequestBudget(seconds=0.2)
    for protector, messages in (
        (ImageProtector(Slow(), budget=budget), human(gradient(30, 20))),
        (ImageProtector(Pixelate(), budget=budget, on_remote_url="fetch", fetch=slow), urls(1)),
    ):
        started = time.perf_counter()
        assert "raise seconds" in refusal(protector, messages)
        assert time.perf_counter() - started < 1.2


async def test_the_time_of_an_async_request_ends_it_too() -> None:
    class Slow(Seeing):
        def protect(self, image: Image.Image, level: float) -> Image.Image:
            time.sleep(1)
            return super().protect(image, level)

    with pytest.raises(ProtectionError, match="raise seconds"):
        await ImageProtector(Slow(), budget=RequestBudget(seconds=0.2)).aprotect_messages(
            human(gradient(30, 20))
        )


def test_work_for_a_request_that_has_failed_is_not_begun() -> None:
    begun: list[int] = []

    class Failing(Seeing):
        def protect(self, image: Image.Image, level: float) -> Image.Image:
            begun.append(image.width)
            time.sleep(0.01)
            raise RuntimeError

    pictures = [gradient(40 + number, 30) for number in range(80)]
    assert "engine failed" in refusal(ImageProtector(Failing()), human(*pictures))
    time.sleep(1)
    assert len(begun) < 40


def test_the_size_at_which_a_picture_leaves_counts_too() -> None:
    class Little(Seeing):
        working_resolution = 64

    data = gradient(1_600, 1_200)
    budget = RequestBudget(max_pixels=1_000_000)
    said = refusal(ImageProtector(Little(), budget=budget), human(data))
    assert "more than 1,000,000 pixels" in said
    ImageProtector(Little(), budget=budget, output_size="fit").protect_messages(human(data))


def test_every_option_that_a_refusal_names_exists() -> None:
    protector = ImageProtector(Pixelate(), budget=RequestBudget(pictures=1, pixels=1, bytes=1))
    said = refusal(protector, human(gradient(30, 20)))
    assert any(f"raise {option} " in said for option in OPTIONS)
