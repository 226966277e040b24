"""A chat endpoint on loopback whose answers a test writes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


@dataclass
class Answer:
    """A response: its JSON, status and headers."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Script = Callable[[Body], Answer]


@dataclass
class ChatServer:
    """Answers by its ``script``; keeps the requests."""

    script: Script
    url: str = ""
    requests: list[Body] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def chat_server(script: Script) -> Iterator[ChatServer]:
    """Serve on a free port."""
    server = ChatServer(script)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.requests.append(body)
            server.paths.append(self.path)
            server.heads.append({name.lower(): value for name, value in self.headers.items()})
            answer = server.script(body)
            content = json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Length": len(content)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=lambda: http.serve_forever(0.01), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()


def said(text: str | None, *, logprobs: Any = None, usage: Any = None, **message: Any) -> Answer:
    """The answer that says ``text``."""
    usage = {"prompt_tokens": 100, "completion_tokens": 10} if usage is None else usage
    finish = message.pop("finish_reason", "stop")
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, **message},
        "finish_reason": finish,
        "logprobs": logprobs,
    }
    return Answer({"object": "chat.completion", "choices": [choice], "usage": usage})


def likely(*tokens: tuple[str, float]) -> Answer:
    """The answer whose first token has these log probabilities."""
    listed = [{"token": token, "logprob": logprob} for token, logprob in tokens]
    return said(tokens[0][0], logprobs={"content": [{**listed[0], "top_logprobs": listed}]})


def refused(message: str, status: int = 400, **headers: str) -> Answer:
    """An error as OpenAI's API words it."""
    return Answer({"error": {"message": message, "type": "invalid_request_error"}}, status, headers)


def data_of(body: Body) -> Body:
    """The query and documents of a request."""
    found: Body = json.loads(body["messages"][-1]["content"].partition("\n\n")[0])
    return found


def texts_of(body: Body) -> list[str]:
    """The documents of a request, in the order of their numbers."""
    documents = data_of(body)["documents"]
    assert [document["number"] for document in documents] == [*range(1, len(documents) + 1)]
    return [document["text"] for document in documents]


def ranks(best_first: Callable[[str], Any]) -> Script:
    """A model that ranks documents by a key."""

    def script(body: Body) -> Answer:
        texts = texts_of(body)
        order = sorted(range(len(texts)), key=lambda n: best_first(texts[n]))
        return said(json.dumps({"ranking": [n + 1 for n in order]}))

    return script


def numbered(count: int) -> Sequence[str]:
    """Documents of which the last one is the best."""
    return [f"document {n:03}" for n in range(count)]


def last_first(text: str) -> int:
    """The key by which the last of `numbered` is the best."""
    return -int(text.split()[-1])
