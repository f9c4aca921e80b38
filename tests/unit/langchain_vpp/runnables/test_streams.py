"""Streams: chunks of all shapes, restored, add up to the whole restored."""

from __future__ import annotations

import json
import random

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.runnables.utils import AddableDict

from langchain_vpp.engines.words.vault import Vault
from langchain_vpp.guard.conversations import restored_in
from langchain_vpp.runnables.streams import ChunkStream

SAID = 'For NAME_1, name_12 and NAME\\_1: "IBAN_1"'


@pytest.fixture
def vault():
    made = Vault()
    for number in range(12):
        made.token("NAME", f'P{number} "Q{number}" Rees{number}')
    made.token("IBAN", "DE89 3704")
    return made


def pieces(text, seed):
    chance, place = random.Random(seed), 0
    while place < len(text):
        length = chance.randint(1, 6)
        yield text[place : place + length]
        place += length


def joined(stream, chunks):
    given = [*map(stream.feed, chunks), *stream.flush()]
    whole = given[0]
    for chunk in given[1:]:
        whole = whole + chunk
    return whole


def whole_of(chunks):
    first, *others = chunks
    return sum(others, first)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("last", [None, "last"])
def test_a_message_in_any_pieces_adds_up(vault, seed, last):
    arguments = json.dumps({"to": "NAME_1", "all": ["IBAN_1", "NAME_12"]})
    chunks = [AIMessageChunk(piece, id="1") for piece in pieces(SAID, seed)]
    chunks += [
        AIMessageChunk("", tool_call_chunks=[{"name": name, "args": "", "id": name, "index": index}], id="1")
        for index, name in enumerate("fg")
    ]
    chunks += [
        AIMessageChunk(
            "", tool_call_chunks=[{"name": None, "args": piece, "id": None, "index": index}], id="1"
        )
        for index in range(2)
        for piece in pieces(arguments, seed + index)
    ]
    chunks.append(AIMessageChunk("", id="1", chunk_position=last))
    whole = joined(ChunkStream(vault), chunks)
    assert whole.text == vault.restored(SAID)
    expected = restored_in(json.loads(arguments), vault)
    assert [call["args"] for call in whole.tool_calls] == [expected] * 2
    assert [json.loads(each["args"]) for each in whole.tool_call_chunks] == [expected] * 2


@pytest.mark.parametrize("seed", range(10))
def test_blocks_of_content_add_up(vault, seed):
    chunks = [
        AIMessageChunk(
            [{"type": "reasoning", "summary": [{"type": "text", "text": piece, "index": 0}], "index": 0}]
        )
        for piece in pieces(SAID, seed)
    ]
    chunks += [
        AIMessageChunk([{"type": "text", "text": piece, "index": 1}]) for piece in pieces(SAID, seed + 1)
    ]
    chunks += [
        AIMessageChunk([{"type": "input_json_delta", "partial_json": piece, "index": 2}])
        for piece in pieces('{"a": "NAME_1"}', seed)
    ]
    whole = joined(ChunkStream(vault), chunks)
    expected = vault.restored(SAID)
    assert [whole.content[0]["summary"][0]["text"], whole.content[1]["text"]] == [expected] * 2
    assert json.loads(whole.content[2]["partial_json"]) == {"a": 'P0 "Q0" Rees0'}


def test_text_in_additional_arguments_adds_up(vault):
    chunks = [AIMessageChunk("", additional_kwargs={"reasoning_content": piece}) for piece in pieces(SAID, 1)]
    assert joined(ChunkStream(vault), chunks).additional_kwargs["reasoning_content"] == vault.restored(SAID)


def test_mappings_and_tuples_of_a_graph_keep_their_shapes(vault):
    stream = ChunkStream(vault)
    given = [stream.feed(AddableDict(a=piece)) for piece in pieces(SAID, 2)]
    given += stream.flush()
    assert all(type(each) is AddableDict for each in given)
    assert "".join(each["a"] for each in given) == vault.restored(SAID)

    stream = ChunkStream(vault)
    meta = [{"langgraph_checkpoint_ns": name} for name in "ab"]
    given = [
        stream.feed(("messages", (AIMessageChunk(piece), meta[number])))
        for parts in zip(pieces(SAID, 3), pieces(SAID, 3), strict=True)
        for number, piece in enumerate(parts)
    ]
    given += stream.flush()
    for name in meta:
        assert "".join(chunk.text for _, (chunk, kept) in given if kept == name) == vault.restored(SAID)
    assert stream.feed(("updates", {"x": ["NAME_1"]})) == ("updates", {"x": ['P0 "Q0" Rees0']})


def test_what_ends_a_stream_is_remembered_for_the_next_turn(vault):
    stream = ChunkStream(vault)
    given = "".join([*map(stream.feed, ["Name_", "1 it is"]), *stream.flush()])
    assert vault.hidden(given) == "Name_1 it is"


def test_where_nothing_is_hidden_chunks_pass_as_they_are():
    stream, chunk = ChunkStream(Vault()), AIMessageChunk("NAME_1")
    assert stream.feed(chunk) is chunk
    assert [*stream.flush()] == []
