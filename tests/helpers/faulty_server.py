"""A server of files that fails in every way that it is told to."""

import hashlib
import threading
from collections import defaultdict
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

CONTENT = np.random.default_rng(0).bytes(300_000)
SUM = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves `server.files`; each request takes the next of `server.faults` of its path."""

    def do_GET(self):
        server, faults = self.server, self.server.faults[self.path]
        fault = faults.pop(0) if faults else ""
        asked = self.headers["Range"]
        server.requests.append((self.path, asked, self.headers["If-Range"]))
        data = server.files.get(self.path)
        if fault.startswith("to "):
            return self.answer(302, b"", Location=fault[3:])
        if data is None or fault.isdecimal():
            return self.answer(int(fault or 404), b"")
        if fault == "hang":
            server.stopped.wait(10)
            return None
        etag = server.etags.get(self.path)
        headers = {"ETag": etag} if etag else {}
        if self.headers["If-Range"] not in (None, etag):
            asked = None
        start, status, size = 0, 200, len(data)
        if asked and fault != "no ranges":
            start, status = int(asked.removeprefix("bytes=").removesuffix("-")), 206
            if start >= size:
                return self.answer(416, b"", **{"Content-Range": f"bytes */{size}"})
            shown = start + 1 if fault == "wrong range" else start
            headers["Content-Range"] = f"bytes {shown}-{size - 1}/{size}"
        body = data[start:]
        if fault == "wrong bytes":
            body = bytes(len(body))
        if fault == "short":
            body = body[: len(body) // 2]
        half = len(body) // 2 if fault == "break" else len(body)
        return self.answer(status, body[:half], **{"Content-Length": len(body), **headers})

    def answer(self, status, body, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.server.served += len(body)
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@contextmanager
def faulty_server():
    """Serves from a thread: /a and /b at `server.at`, and what else is put into `server.files`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.files, server.faults = {"/a": CONTENT, "/b": CONTENT}, defaultdict(list)
    server.requests, server.served, server.etags = [], 0, {"/a": '"1"', "/b": '"9"'}
    server.stopped = threading.Event()
    server.at = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()
