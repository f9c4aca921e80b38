"""Failures that another process had are judged as if this one had had them."""

from __future__ import annotations

import anthropic
import httpx
import openai
import pytest
from botocore.exceptions import ClientError

from trainer.oracle import retry
from trainer.oracle.portable import pack, unpack

REQUEST = httpx.Request("POST", "http://127.0.0.1/v1", content=b"PICTURE")


def openai_error(status, body=None, **headers):
    response = httpx.Response(status, headers=headers, request=REQUEST)
    kind = openai.RateLimitError if status == 429 else openai.APIStatusError
    return kind("PICTURE", response=response, body=body)


def connection_error(cause):
    error = openai.APIConnectionError(request=REQUEST)
    error.__cause__ = cause
    return error


class UnknownError(Exception):
    def __init__(self, needed):
        super().__init__(needed)


class StatusError(Exception):
    """As clients raise it that keep no response."""

    status_code = 429


def local_error():
    class LocalError(Exception):
        pass

    return LocalError("PICTURE")


@pytest.mark.parametrize(
    "error",
    [
        openai_error(429, **{"retry-after": "7"}),
        openai_error(429, {"code": "insufficient_quota"}),
        openai_error(400, {"error": {"code": "content_filter", "message": "PICTURE"}}),
        openai_error(500),
        openai_error(401),
        openai.APITimeoutError(request=REQUEST),
        connection_error(httpx.ConnectError("refused")),
        connection_error(httpx.ReadError("gone")),
        anthropic.APIStatusError("x", response=httpx.Response(529, request=REQUEST), body=None),
        ClientError(
            {"Error": {"Code": "ThrottlingException"}, "ResponseMetadata": {"HTTPStatusCode": 429}},
            "Converse",
        ),
        ValueError({"message": "blocked by safety", "code": 403}),
        ImportError("no package"),
        NotImplementedError(),
        UnknownError("x"),
        local_error(),
        StatusError(),
    ],
    ids=lambda error: f"{type(error).__name__}",
)
def test_a_failure_is_judged_alike_after_its_journey(error):
    arrived = unpack(pack(error))
    for judge in (
        retry.is_rejection,
        retry.names_a_filter,
        retry.is_retryable,
        retry.may_come_from_the_request,
        retry.may_be_charged,
        retry.describe,
    ):
        assert judge(arrived) == judge(error), judge.__name__
    assert retry.retry_after(arrived) == pytest.approx(retry.retry_after(error), rel=0.2)


def test_the_request_does_not_travel():
    assert b"PICTURE" not in pack(connection_error(httpx.ReadError("PICTURE", request=REQUEST)))
    assert b"PICTURE" not in pack(openai_error(500))
