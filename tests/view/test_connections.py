"""Clients that stall, as raw sockets: none of them keeps another one waiting."""

import contextlib
import io
import json
import socket
import threading
import time

import numpy as np
import pytest
from helpers.pictures import texture
from PIL import Image

pytest.importorskip("starlette", reason="needs the extra [view]")
pytest.importorskip("uvicorn", reason="needs the extra [view]")

from helpers.viewing import viewing

from liif.images.rgb8 import write_image
from liif.view import connection, pictures, server


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    path = tmp_path_factory.mktemp("view") / "a.png"
    write_image(path, texture(40, 60))
    with viewing(path) as (viewer, port):
        viewer.port = port
        yield viewer


@pytest.fixture
def connect(served):
    """Send the beginning of a request; all connections are closed at the end."""
    with contextlib.ExitStack() as stack:

        def connect(beginning=b""):
            client = stack.enter_context(socket.socket())
            client.settimeout(30)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 30_000)
            client.connect(("127.0.0.1", served.port))
            client.sendall(beginning)
            return client

        yield connect


def request(served, target, body=None, length=None):
    token = served.tokens.token
    lines = [f"{'GET' if body is None else 'POST'} {target}&token={token} HTTP/1.1"]
    lines += [f"Host: 127.0.0.1:{served.port}"]
    if body is not None:
        lines += [f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def answer(client):
    """(status, body) of one response; (0, b"") if the connection was closed without one."""
    file = client.makefile("rb")
    try:
        line = file.readline()
        if not line:
            return 0, b""
        lines = iter(file.readline, b"\r\n")
        headers = dict(line.decode().lower().strip().split(": ", 1) for line in lines)
        return int(line.split()[1]), file.read(int(headers["content-length"]))
    except ConnectionError:
        return 0, b""


def png(seed):
    file = io.BytesIO()
    Image.fromarray(texture(30, 40, seed)).save(file, "PNG")
    return file.getvalue()


STALLED = {
    "half a body": lambda served: request(served, "/pictures?name=a", png(1)[:100], len(png(1))),
    "no body": lambda served: request(served, "/pictures?name=a", b"", 5000),
    "half a header": lambda served: request(served, "/state?a")[:-20],
    "nothing": lambda served: b"",
}


@pytest.mark.parametrize("kind", STALLED)
def test_stalled_clients_block_nobody(served, connect, kind):
    for _ in range(20):
        connect(STALLED[kind](served))
    start = time.monotonic()
    status, body = answer(connect(request(served, "/pictures?name=b.png", png(2))))
    assert status == 200 and json.loads(body)["name"] == "b.png"
    assert answer(connect(request(served, "/state?a")))[0] == 200
    assert time.monotonic() - start < 20


def test_a_stalled_upload_ends(served, connect, monkeypatch):
    monkeypatch.setattr(server, "STALL_S", 0.2)
    status, body = answer(connect(STALLED["half a body"](served)))
    assert status == 408 and json.loads(body) == {"error": "a: the upload took too long"}


def test_an_upload_that_drips_ends(served, connect, monkeypatch):
    monkeypatch.setattr(server, "UPLOAD_S", 0.3)
    client = connect(STALLED["no body"](served))
    start = time.monotonic()
    client.settimeout(0.05)
    while time.monotonic() - start < 10:
        client.sendall(b"x")
        with contextlib.suppress(TimeoutError):
            assert client.recv(12).endswith(b" 408")
            break
    assert time.monotonic() - start < 20


def test_a_large_upload_is_refused_before_it_is_sent(served, connect):
    status, body = answer(connect(request(served, "/pictures?name=a", b"", 2**40)))
    assert status == 413 and b"256 MB" in body


def test_an_upload_without_the_token_is_not_read(served, connect):
    beginning = request(served, "/pictures?name=a", b"x" * 100, 5000)
    beginning = beginning.replace(served.tokens.token.encode(), b"guessed")
    assert answer(connect(beginning))[0] == 403


@pytest.mark.parametrize("kind", ["half a header", "nothing"])
def test_connections_that_send_no_request_are_closed(served, connect, monkeypatch, kind):
    monkeypatch.setattr(connection, "CHECK_S", 0.1)
    start = time.monotonic()
    assert answer(connect(STALLED[kind](served))) == (0, b"")
    assert time.monotonic() - start < 20


def test_a_refused_client_that_sends_on_is_closed(served, connect, monkeypatch):
    monkeypatch.setattr(connection, "CHECK_S", 0.1)
    client = connect(request(served, "/pictures?name=a", b"", 2**40))
    for _ in range(1000):
        try:
            client.sendall(bytes(1000))
        except ConnectionError:
            return
        time.sleep(0.01)
    pytest.fail("the connection is still open")


def view_of(served, rows, cols):
    query = f"top=0&left=0&height=40&width=60&rows={rows}&cols={cols}"
    return f"/render?picture={served.pictures.first.id}&method=bicubic&{query}"


def test_a_client_that_does_not_read_is_closed_and_blocks_nobody(served, connect, monkeypatch):
    monkeypatch.setattr(connection, "CHECK_S", 0.3)
    ended = threading.Event()

    def large(picture, view):
        try:
            for row in range(2000):
                yield row, np.zeros((1, 30_000, 3), np.uint8)
        finally:
            ended.set()

    with monkeypatch.context() as patch:
        patch.setattr(served.renderer, "strips", large)
        for _ in range(5):
            assert connect(request(served, view_of(served, 2000, 30_000))).recv(12)[-3:] == b"200"
    for _ in range(300):  # other views, while these do not go on
        client = connect(request(served, view_of(served, 40, 60)))
        assert client.recv(15) == b"HTTP/1.1 200 OK"
        if ended.wait(0.01):
            return
    pytest.fail("the view of a client that does not read goes on")


def test_slow_readers_are_not_closed(served, connect, monkeypatch):
    """A connection that makes progress stays, however slow."""
    monkeypatch.setattr(connection, "CHECK_S", 0.4)
    rows, cols = 25, 30_000

    def large(picture, view):
        for row in range(rows):
            yield row, np.zeros((1, cols, 3), np.uint8)

    monkeypatch.setattr(served.renderer, "strips", large)
    client = connect(request(served, view_of(served, rows, cols)))
    start, read = time.monotonic(), 0
    while part := client.recv(15_000):
        read += len(part)
        if read >= rows * cols * 4 and part.endswith(b"0\r\n\r\n"):
            break
        time.sleep(0.01)
    assert read > rows * cols * 4
    assert time.monotonic() - start > 1


def test_many_connections_do_not_lock_others_out(served, connect, monkeypatch):
    """Idle ones give way, the oldest first; those with a request stay."""
    monkeypatch.setattr(connection, "MAX_CONNECTIONS", 12)
    busy = connect(STALLED["half a body"](served))
    with monkeypatch.context() as patch:  # all arrive at once, while the server does something else
        patch.setattr(served.pictures, "describe", lambda: time.sleep(0.3) or [])
        connect(request(served, "/state?a"))
        time.sleep(0.1)
        idle = [connect() for _ in range(40)]
        time.sleep(0.3)
    for _ in range(3):
        assert answer(connect(request(served, "/state?a")))[0] == 200
    assert [answer(client) for client in idle[:25]] == [(0, b"")] * 25
    busy.sendall(png(1)[100:])
    assert answer(busy)[0] == 200


def test_a_slow_picture_does_not_block_others_and_none_is_decoded_for_nobody(
    served, connect, monkeypatch
):
    read, gate = [], threading.Event()
    act = server.read_upload

    def gated(path, name):
        read.append(name)
        if name.startswith("slow"):
            gate.wait(90)  # longer than the clients wait
        return act(path, name)

    def upload(name, seed):
        return connect(request(served, f"/pictures?name={name}", png(seed)))

    monkeypatch.setattr(server, "read_upload", gated)
    slow = [upload("slow-1", 3)]
    assert answer(upload("quick", 4))[0] == 200
    slow.append(upload("slow-2", 5))
    while len(read) < 3:
        time.sleep(0.01)
    upload("gone", 6).close()
    time.sleep(0.2)
    gate.set()
    assert [answer(client)[0] for client in slow] == [200, 200]
    assert answer(upload("last", 7))[0] == 200
    assert sorted(read) == ["last", "quick", "slow-1", "slow-2"]


def test_a_picture_that_would_not_be_kept_is_refused_before_it_is_decoded(
    served, connect, monkeypatch
):
    monkeypatch.setattr(pictures, "CAPACITY", 3 * 30 * 40 - 1)
    monkeypatch.setattr(pictures, "read_image", None)
    status, body = answer(connect(request(served, "/pictures?name=a.png", png(8))))
    assert status == 400
    assert "a.png: 40×30 px" in json.loads(body)["error"] and b"/tmp" not in body
