"""What the walk costs where there is nothing to protect: a text-only history of 200 messages.

Next to it, in the same interleaved run, what LangChain itself does with such a history: ``deepcopy`` of the
messages, their conversion for OpenAI's API, and JSON. One message is fresh in each round, as in a conversation.

    python -m tests.bench.bench_walker
"""

from __future__ import annotations

import copy
import gc
import json
import random
import time
from typing import TYPE_CHECKING, Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    convert_to_openai_messages,
)

from langchain_vpp import ImageProtector
from langchain_vpp.engines import Pixelate
from langchain_vpp.messages.plan import ContentPolicy
from langchain_vpp.messages.walk import plan_messages

from .measuring import machine, summary

if TYPE_CHECKING:
    from collections.abc import Callable

MESSAGES = 200
ROUNDS = 200
WORDS = (  # noqa: SIM905
    "the of and a to in is you that it he was for on are as with his they at be this have from or one had by "
    "word but not what all were we when your can said there use an each which she do how their if will up other"
).split()


def history(seed: int = 0) -> list[BaseMessage]:
    """Turns of a person, a model with tool calls, and tools; about 60 words each."""
    chance = random.Random(seed)

    def prose(words: int) -> str:
        return " ".join(chance.choice(WORDS) for _ in range(words)) + "."

    messages: list[BaseMessage] = [SystemMessage(prose(120))]
    while len(messages) < MESSAGES:
        number = len(messages)
        call = {"name": "search", "args": {"query": prose(6), "limit": 10}, "id": f"call_{number}"}
        usage = {"input_tokens": 900, "output_tokens": 40, "total_tokens": 940}
        metadata = {"model_name": "gpt-4o-mini", "finish_reason": "stop", "id": f"chatcmpl-{number}"}
        messages += [
            HumanMessage([{"type": "text", "text": prose(60)}], id=f"h{number}"),
            AIMessage("", tool_calls=[call], response_metadata=metadata, usage_metadata=usage),
            ToolMessage(json.dumps([{"title": prose(5), "text": prose(30)}] * 2), tool_call_id=call["id"]),
            AIMessage(prose(60), response_metadata=metadata, usage_metadata=usage, id=f"a{number}"),
        ]
    return messages[:MESSAGES]


def main() -> None:
    """Print one JSON document."""
    protector = ImageProtector(Pixelate())
    messages = history()
    subjects: dict[str, Callable[[], Any]] = {
        "walk": lambda: plan_messages(messages, ContentPolicy()),
        "protect_messages": lambda: protector.protect_messages(messages),
        "convert_to_openai_messages": lambda: convert_to_openai_messages(messages),
        "deepcopy": lambda: copy.deepcopy(messages),
        "json": lambda: json.dumps([message.content for message in messages]),
    }
    samples: dict[str, list[float]] = {name: [] for name in subjects}
    for call in subjects.values():
        call()
    gc.disable()
    for number in range(ROUNDS):
        messages[-1] = HumanMessage([{"type": "text", "text": f"And now, for the {number}th time?"}])
        for name, call in subjects.items():
            started = time.perf_counter()
            call()
            samples[name].append((time.perf_counter() - started) * 1000)
        gc.collect(0)
    results = {name: summary(values) for name, values in samples.items()}
    base = results["protect_messages"]["median"]
    report = {
        "benchmark": "walker",
        "unit": "ms",
        "messages": MESSAGES,
        "characters": len(json.dumps([message.content for message in messages])),
        "results": results,
        "ratio_to_protect_messages": {
            name: round(result["median"] / base, 3) for name, result in results.items()
        },
        "machine": machine(),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
