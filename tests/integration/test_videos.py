"""A video in a pipeline: frames reach a real chat model over HTTP, and no sink holds the film."""

from __future__ import annotations

import base64
import random

import numpy as np
import pytest
from langchain_core.messages import HumanMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI

pytest.importorskip("av")

from langchain_vpp import ImageProtector, protect
from langchain_vpp.engines import Pixelate
from langchain_vpp.testing import assert_no_leak
from tests.callbacks import Everything
from tests.films import film

from .recording import picture_digests, recording_server

pytestmark = pytest.mark.network

NOISE = [
    np.frombuffer(random.Random(seed).randbytes(32 * 32 * 3), np.uint8).reshape(32, 32, 3)
    for seed in range(3)
]
FILM = film(NOISE, rate=1)
B64 = base64.b64encode(FILM).decode()
VIDEO = {"type": "video", "base64": B64, "mime_type": "video/mp4"}


@pytest.mark.parametrize("how", ["a model", "a prompt's variable", "in another dialect"])
def test_frames_reach_the_model_and_no_sink_holds_the_film(how: str) -> None:
    protector = ImageProtector(Pixelate(), level=0.8, on_video="sample")
    everything = Everything()
    with recording_server() as recorder:
        model = ChatOpenAI(base_url=f"{recorder.url}/v1", api_key="none", model="gpt-4o-mini", max_retries=0)
        config = {"callbacks": [everything]}
        if how == "a prompt's variable":
            prompt = ChatPromptTemplate([("human", [{**VIDEO, "base64": "{film}"}])])
            (protector | prompt | model).invoke({"film": B64}, config)
        else:
            block = (
                VIDEO
                if how == "a model"
                else {"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{B64}"}}
            )
            protect(model, protector).invoke([HumanMessage([block])], config)
        (request,) = recorder.requests
        assert len(picture_digests(request.json["messages"])) == 3
        assert "shown by 3 of its frames" in request.body.decode()
        assert_no_leak(FILM, recorder.wire, everything.events)
