"""A provider over real HTTP that answers as a script says, and queries for it."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from langchain_openai import ChatOpenAI

from trainer.oracle.ledger import Budget
from trainer.oracle.oracle import Oracle
from trainer.oracle.query import Query

PLENTY = Budget(100)
SECRET = "the-provider-quotes-the-request"


def completion(text="red", logprobs=None):
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": logprobs}
    usage = {"prompt_tokens": 90, "completion_tokens": 2, "total_tokens": 92}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }


def ranked(**alternatives):
    top = [{"token": token, "logprob": value, "bytes": None} for token, value in alternatives.items()]
    return {"content": [top[0] | {"top_logprobs": top}], "refusal": None}


class Provider:
    """An HTTP server that answers the n-th request as ``script(n, body)`` says: status, body and headers."""

    def __init__(self, script):
        self.bodies = bodies = []
        self.times = times = []
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    number = len(bodies)
                    bodies.append(body)
                    times.append(time.monotonic())
                status, reply, *headers = script(number, body)
                if status == "cut":
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
                self.send_response(status)
                for name, value in headers[0].items() if headers else ():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


def chat(base_url, **options):
    return ChatOpenAI(base_url=base_url, api_key="key", model="m", **({"max_retries": 0} | options))


def queries(*numbers):
    return [
        Query(f"picture {number}".encode(), "What colour is the sign?", ("red", "blue")) for number in numbers
    ]


def ask(ledger, base_url, asked, *, budget=PLENTY, on_answer=None, access="labels", attempts=3, **options):
    oracle = Oracle(chat(base_url, **options), ledger, budget, access=access, attempts=attempts)
    return oracle.ask(asked, purpose="train", on_answer=on_answer)


def number_of(body):
    """Which of :func:`queries` a request body asks."""
    url = body["messages"][0]["content"][1]["image_url"]["url"]
    return int(base64.b64decode(url.partition(",")[2]).split()[1])


def refused_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def assert_free_of_content(error):
    assert SECRET not in str(error)
    assert "picture" not in str(error)
    assert error.__cause__ is None
    assert error.__context__ is None


class Interrupted(BaseException):
    pass
