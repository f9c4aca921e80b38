"""Conversations about drawn documents with the sandbox's model of screens, protected and restored.

    python -m tests.bench.bench_conversations [--conversations 200] [--each 10]

Every conversation asks two to six questions over HTTP, in all ways in which a model is called. Ten are about the same
two pages, because reading a page costs most. Answers after restoring are compared with those that the same model
gives to the originals, and all that was sent is searched for private values.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import tempfile
import time
from pathlib import Path

from tests.integration.screen_conversing import WAYS, Answer, hold_conversations
from trainer.attackers.words.readers import installed_readers, readers_named
from trainer.evaluation.word_results import Share
from trainer.sandbox.vision.local_model import UNKNOWN

BOUND = 0.9


def main() -> int:
    """Hold the conversations and print one JSON document; exit with 1 if it leaked or too few answers are right."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--conversations", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="seed of the first page")
    parser.add_argument("--each", type=int, default=10, help="conversations about the same two pages")
    options = parser.parse_args()
    name = installed_readers()[-1]
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(
            hold_conversations(
                options.conversations,
                Path(folder, "wire.jsonl"),
                first=options.first,
                each=options.each,
                attack=readers_named([name])[name],
                progress=lambda done: print(done, file=sys.stderr, flush=True),
            )
        )
    answerable = [each for each in found.answers if each.expected != UNKNOWN]
    equal = _share(answerable)
    report = {
        "conversations": options.conversations,
        "pages": 2 * math.ceil(options.conversations / options.each),
        "cpu_seconds": round(time.process_time()),
        "turns": len(found.answers),
        "requests": found.requests,
        "hidden_values": found.values,
        "leaks": found.leaks,
        "reader_of_pictures": name,
        "equal": equal.model_dump(),
        "by_question": {
            question: _share([each for each in answerable if each.question == question]).model_dump()
            for question in sorted({each.question for each in answerable})
        },
        "by_way": {
            way: _share([each for each in answerable if each.way == way]).model_dump() for way in WAYS
        },
        "wrong": [each._asdict() for each in answerable if each.got != each.expected],
    }
    print(json.dumps(report, indent=2, ensure_ascii=False))
    return int(bool(found.leaks) or (equal.value or 0.0) < BOUND)


def _share(answers: list[Answer]) -> Share:
    return Share.of_cases(each.got == each.expected for each in answers)


if __name__ == "__main__":
    sys.exit(main())
