"""client.py: sends requests over HTTP to a server on this machine and keeps what came back.

An answer is an *error* when there was no answer, its status was not 200, or it held no text. Nothing is tried again:
a retry would hide an error.
"""
import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Optional

TIMEOUT = 120


class Answer(NamedTuple):
    """What came back: the text, or why there is none; how long that took, and how long its first word where it came in pieces."""
    text: Optional[str]
    error: Optional[str]
    seconds: Optional[float] = None
    first: Optional[float] = None


def get(port, path, timeout=5):
    """The status of a GET, or None where nobody answers."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        link.request("GET", path)
        return link.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        link.close()


def _streamed(reply, began):
    """A stream of server-sent events, each with a piece of the text; the last says that it is. A stream that was cut off is an error."""
    text, first, event = "", None, {}
    for line in reply:
        if line.startswith(b"data: {"):
            event = json.loads(line[6:])
            text += event.get("content") or ""
            if text and first is None:
                first = time.monotonic() - began
    return Answer(text, None, first=first) if text and event.get("stop") else Answer(None, f"a stream that ends with {event}")


def post(port, path, body):
    """A body with "stream" is answered in pieces."""
    began = time.monotonic()
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        link.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        reply = link.getresponse()
        if reply.status == 200 and body.get("stream"):
            return _streamed(reply, began)
        data = reply.read()
        if reply.status != 200:
            return Answer(None, f"status {reply.status}: {data[:200]!r}")
        text = json.loads(data).get("content")
        return Answer(text, None) if isinstance(text, str) else Answer(None, f"no text in {data[:200]!r}")
    except (OSError, http.client.HTTPException, ValueError) as why:
        return Answer(None, repr(why))
    finally:
        link.close()


def send(port, path, bodies, in_flight, step):
    """Send every body, `in_flight` at a time; the answers in the order of the bodies. step() is called after each."""
    def one(body):
        began = time.monotonic()
        answer = post(port, path, body)
        step()
        return answer._replace(seconds=time.monotonic() - began)
    with ThreadPoolExecutor(in_flight) as pool:
        return list(pool.map(one, bodies))
