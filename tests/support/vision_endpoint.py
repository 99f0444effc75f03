"""A chat endpoint on loopback that answers about images with given probabilities of its first token."""

from __future__ import annotations

import json
import math
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "sk-not-a-real-key"


def answer(
    top: dict[str, float], *, refusal: str | None = None, finish: str = "length", tokens=(100, 1)
) -> dict:
    """A chat completion whose first token has these probabilities."""
    told = [{"token": t, "logprob": math.log(p), "bytes": None} for t, p in top.items()]
    first = max(top, key=top.__getitem__) if top else ""
    content = (
        [{"token": first, "logprob": told[0]["logprob"], "bytes": None, "top_logprobs": told}]
        if top
        else None
    )
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "judge-2024-01-01",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": first or None, "refusal": refusal},
                "logprobs": {"content": content, "refusal": None} if top else None,
            }
        ],
        "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)},
    }


class Endpoint:
    """A server: for the text of a prompt a list of replies, the last one for good; a reply is (status,
    body). With ``respond`` it computes the reply to each request instead."""

    def __init__(self) -> None:
        self.script: dict[str, list] = {}
        self.respond = None
        self.requests: list[dict] = []
        self.headers: list[dict] = []
        self.under_way = self.most_under_way = 0
        self.lock = threading.Lock()
        self.busy, self.takes = threading.Event(), 0.0
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                text = body["messages"][0]["content"][-1]["text"]
                prompt = next((p for p in endpoint.script if f'"{p}"' in text), None)
                with endpoint.lock:
                    endpoint.requests.append(body)
                    endpoint.headers.append({k.lower(): v for k, v in self.headers.items()})
                    endpoint.under_way += 1
                    endpoint.most_under_way = max(endpoint.most_under_way, endpoint.under_way)
                    if endpoint.respond is not None:
                        status, reply = endpoint.respond(body)
                    else:
                        replies = endpoint.script[prompt]
                        status, reply = replies.pop(0) if len(replies) > 1 else replies[0]
                data = json.dumps(reply).encode()
                endpoint.busy.wait(endpoint.takes)
                with endpoint.lock:
                    endpoint.under_way -= 1
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.send_header("retry-after-ms", "5")
                self.send_header("x-ratelimit-remaining-requests", "41")
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
