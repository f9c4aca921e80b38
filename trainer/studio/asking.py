"""Sending: what leaves through the gate, its receipt, and what a chat model says about it."""

from __future__ import annotations

import base64
import contextlib
import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpx
from langchain_core.messages import HumanMessage
from langsmith import tracing_context

from langchain_vpp.errors import OracleError, VPPError
from langchain_vpp.guard.conversations import thread_name
from langchain_vpp.images.codec import ENCODED_MIME_TYPE
from trainer.oracle.model_spec import ModelSpec
from trainer.studio.uploads import BUDGET

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from langchain_vpp.guard.receipt import Receipt
    from langchain_vpp.image_protector import ImageProtector
    from trainer.studio.protectors import Protectors, SentSize
    from trainer.studio.uploads import Upload

_SANDBOX: Final = "sandbox"
_LONGEST_QUESTION: Final = 4_000


class Leaving(NamedTuple):
    """What leaves with a question: the admitted message, the pictures in it, and their receipt."""

    message: BaseMessage
    pictures: tuple[bytes, ...]
    text: str
    """The question, as the provider gets it."""
    receipt: Receipt
    protector: ImageProtector


class Conversation(NamedTuple):
    """An answer, and what was asked.

    Attributes:
        asked: The question, as the provider got it.
        answer: The answer, as the provider gave it.
        restored: The answer with hidden values in the places of their tokens; known on this machine alone.
        receipt: What protected the pictures, and their digests.
    """

    asked: str
    answer: str
    restored: str
    receipt: dict[str, Any]


class ChatModels:
    """Chat models that can be asked: the sandbox's, which are served by a process on this machine, and named ones.

    Args:
        models: Names as in ``vpp train --model``.
        base_url: Where an OpenAI-compatible server answers, for the named ones.
    """

    def __init__(self, models: tuple[str, ...] = (), base_url: str | None = None) -> None:
        self._named = {name: ModelSpec.parse(name, base_url) for name in models if name != _SANDBOX}
        self._sandbox_url = base_url if _SANDBOX in models else None
        self._served = {_SANDBOX}
        """Models of the sandbox that are known; the page asks which there are before it offers them."""
        self._lock = threading.Lock()
        self._running = contextlib.ExitStack()

    def names(self) -> list[str]:
        """Return the names of all models; those of the sandbox are known once it runs."""
        return [*self._named, _SANDBOX]

    def sandbox_models(self) -> list[str]:
        """Start the sandbox, and return the models that it serves.

        Raises:
            OracleError: If it does not start.
        """
        url = self._sandbox()
        served: list[str] = []
        with contextlib.suppress(httpx.HTTPError, ValueError, KeyError):
            answer = httpx.get(f"{url}/models", trust_env=False, timeout=10)
            served = [str(each["id"]) for each in answer.json()["data"]]
            self._served.update(served)
        return served

    def ask(self, name: str, leaving: Leaving, upload: Upload) -> Conversation:
        """Send a protected picture and a question, and restore the answer.

        Args:
            name: Name of the model.
            leaving: What leaves.
            upload: The file that the conversation is about.

        Raises:
            OracleError: If the model fails. The error quotes nothing of its reply.
            TrainingError: If the model can't be set up.
        """
        model = self._spec(name).build()
        failure, answer = "", ""
        try:
            # A trace would be one more reader, and is not what the page promises.
            with tracing_context(enabled=False):
                answer = model.invoke([leaving.message]).text
        except VPPError:
            raise
        except Exception as error:  # noqa: BLE001  each client has its own, which may quote the request
            failure = type(error).__name__
        if failure:
            raise OracleError(f"the chat model did not answer ({failure}). Try again, or choose another one.")
        restored = str(leaving.protector.restorer(upload.id).invoke(answer))
        return Conversation(leaving.text, answer, restored, leaving.receipt.as_metadata())

    def close(self) -> None:
        """Stop the sandbox, if it runs."""
        self._running.close()

    def _spec(self, name: str) -> ModelSpec:
        if name in self._named:
            return self._named[name]
        if name not in self._served:
            raise OracleError(
                "nothing was sent: the studio was not given this chat model. Start it with --model."
            )
        return ModelSpec(_SANDBOX, name, self._sandbox())

    def _sandbox(self) -> str:
        with self._lock:
            if self._sandbox_url is None:
                from trainer.sandbox.process import SandboxServer  # noqa: PLC0415  a process only where it is asked

                self._sandbox_url = self._running.enter_context(SandboxServer()).base_url
            return self._sandbox_url


def leaving(
    upload: Upload, protectors: Protectors, name: str, *, level: float, size: SentSize, question: str = ""
) -> Leaving:
    """Let a question about a file through the gate; nothing is sent yet.

    Args:
        upload: The file.
        protectors: Protectors that the studio offers.
        name: Name of one of them.
        level: From 0 to 1; the floor of the studio holds.
        size: Size at which pictures leave.
        question: What the chat model is asked.

    Raises:
        ProtectionError: If anything can't be protected.
    """
    protector = upload.protectors.get((name, size))
    if protector is None:
        protector = upload.protectors.setdefault((name, size), protectors.protector(name, size, BUDGET))
    encoded = base64.b64encode(upload.data).decode()
    block = {"type": "image", "base64": encoded, "mime_type": ENCODED_MIME_TYPE}
    if upload.is_document:
        block = {"type": "file", "base64": encoded, "mime_type": "application/pdf"}
    text = {"type": "text", "text": question[:_LONGEST_QUESTION]}
    with tracing_context(enabled=False):
        admission = protector.admit(
            [HumanMessage(content=[text, block])], level=level, conversation=thread_name(upload.id)
        )
    message = admission.messages[0]
    blocks = [each for each in message.content if isinstance(each, dict)]
    pictures = tuple(base64.b64decode(each["base64"]) for each in blocks if each.get("type") == "image")
    return Leaving(message, pictures, message.text, admission.receipt, protector)
