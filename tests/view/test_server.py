"""`liif view`: the server, with valid, invalid and foreign requests, and the command."""

import http.client
import io
import json
import os
import re
import signal
import socket
import struct
import sys
import threading
import time
import webbrowser
from urllib.parse import urlencode

import numpy as np
import pytest
from helpers import processes
from helpers.pictures import texture
from PIL import Image

pytest.importorskip("starlette", reason="needs the extra [view]")
pytest.importorskip("uvicorn", reason="needs the extra [view]")

from helpers.viewing import tiny_model, viewing

from liif.core.sizes import Window
from liif.images.convert import to_image, to_tensor
from liif.images.rgb8 import write_image
from liif.view import server
from liif.view.guard import Guard


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A function that asks a viewer of a.png (60×40): (status, headers, body)."""
    path = tmp_path_factory.mktemp("view") / "a.png"
    write_image(path, texture(40, 60))
    with viewing(path) as (viewer, port):

        def ask(target, method="GET", body=None, **headers):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            named = {key.replace("_", "-"): value for key, value in headers.items()}
            port_seen = named.get("Host", f":{port}").rpartition(":")[2]
            named.setdefault("Cookie", f"liif-view-{port_seen}={viewer.tokens.token}")
            connection.putrequest(method, target, skip_host="Host" in named)
            for key, value in named.items():
                connection.putheader(key, value)
            if body is not None and "Content-Length" not in named:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            assert b"Traceback" not in content
            return answer.status, answer.headers, content

        ask.port, ask.viewer, ask.picture = port, viewer, viewer.pictures.first
        yield ask


def wanted(served, **changes):
    """The address of a window, with some of its values changed; None takes one away."""
    values = {
        "picture": served.picture.id, "method": "tiny", "top": 5.5, "left": 10.25, "height": 10,
        "width": 20, "rows": 30, "cols": 60,
    }  # fmt: skip
    return "/render?" + urlencode({k: v for k, v in (values | changes).items() if v is not None})


def pixels_of(body, rows, cols):
    out = np.full((rows, cols, 4), -1)
    while body:
        first, count = struct.unpack("<II", body[:8])
        strip = np.frombuffer(body[8 : 8 + count * cols * 4], np.uint8)
        assert (out[first : first + count] == -1).all()
        out[first : first + count] = strip.reshape(count, cols, 4)
        body = body[8 + count * cols * 4 :]
    assert (out[..., 3] == 255).all()
    return out[..., :3]


def test_a_window_by_model_and_by_bicubic(served):
    model = tiny_model()
    field = model.encoded(to_tensor(served.picture.pixels)[None])
    window = Window(5.5, 10.25, 10, 20)
    expected = to_image(model.rendered(field, (30, 60), window=window)[0])
    status, headers, body = served(wanted(served))
    assert status == 200 and headers["Content-Type"] == "application/octet-stream"
    assert np.abs(pixels_of(body, 30, 60) - expected).max() <= 1
    plain = pixels_of(served(wanted(served, method="bicubic"))[2], 30, 60)
    assert np.abs(plain - expected).max() > 5
    direct = np.asarray(
        Image.fromarray(served.picture.pixels).resize(
            (60, 30), Image.Resampling.BICUBIC, (10.25, 5.5, 30.25, 15.5)
        )
    )
    assert np.abs(plain - direct).max() <= 1


def test_the_page_loads_nothing_from_elsewhere(served):
    status, headers, page = served("/")
    assert status == 200 and headers["Content-Type"].startswith("text/html")
    known = set(re.findall(r'(?:src|href)="([^"]+)"', page.decode()))
    seen = set()
    while known - seen:
        name = (known - seen).pop()
        seen.add(name)
        status, headers, content = served(f"/{name}")
        assert status == 200
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        known |= {found[2:] for found in re.findall(r'from "([^"]+)"', content.decode())}
        assert not re.findall(
            r"(?:https?:)?//[\w.-]+\.\w+/",
            content.decode().replace("http://www.w3.org/2000/svg", ""),
        )
    assert seen == {path.name for path in server.PAGE.iterdir()} - {"index.html"}
    assert b"style=" not in page and b"<script>" not in page  # the policy forbids both


@pytest.mark.parametrize(
    "path",
    ["/../server.py", "/%2e%2e/server.py", "/..%2fserver.py", "/page/view.js", "//etc/passwd",
     "/view.js/", "/index.html", "/view.js%00.png", "/pictures", "/docs", "/openapi.json"],
)  # fmt: skip
def test_nothing_else_is_served(served, path):
    assert served(path)[0] in (404, 405, 307) and b"import" not in served(path)[2]


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:{port}"},
        {"Host": "127.0.0.1.evil.example:{port}"},
        {"Host": "evillocalhost:{port}"},
        {"Host": "localhost.evil.example:{port}"},
        {"Host": "localhost@evil.example:{port}"},
        {"Host": "localhost:{port}/evil.example"},
        {"Host": "0.0.0.0:{port}"},
        {"Host": "192.168.0.1:{port}"},
        {"Host": "[::2]:{port}"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1:{port}"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://evil.example", "Sec_Fetch_Site": "same-origin"},
        {"Origin": "http://localhost:{port}", "Sec_Fetch_Site": "same-site"},
        {"Origin": "file://127.0.0.1:{port}", "Sec_Fetch_Site": "same-origin"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
@pytest.mark.parametrize("path", ["/", "/state", "/view.js", "render", "POST"])
def test_foreign_pages_are_refused(served, headers, path):
    headers = {key: value.format(port=served.port) for key, value in headers.items()}
    if path == "POST":
        status, answer, body = served("/pictures?name=a", "POST", b"", **headers)
    else:
        target = wanted(served) if path == "render" else path
        status, answer, body = served(target, **headers)
    assert status in (400, 403) and len(body) < 100  # 400: no host at all
    assert not [key for key in answer if key.lower().startswith("access-control")]


def test_the_page_itself_and_links_to_it_are_allowed(served):
    own = f"127.0.0.1:{served.port}"
    headers = {"Host": own, "Origin": f"http://{own}", "Sec_Fetch_Site": "same-origin"}
    assert served("/state", **headers)[0] == 200
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    assert served("/", **link, Sec_Fetch_Dest="document")[0] == 200
    assert served("/", **link, Sec_Fetch_Dest="iframe")[0] == 403
    assert served("/state", **link, Sec_Fetch_Dest="document")[0] == 403


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"method": "gone"}, "method='gone'"),
        ({"method": None}, "bicubic"),
        ({"top": "nan"}, "top"),
        ({"top": "-1"}, "top"),
        ({"left": "inf"}, "left"),
        ({"left": 50}, "not inside"),
        ({"height": 0}, "not inside"),
        ({"width": "1e999"}, "width"),
        ({"height": None}, "height"),
        ({"rows": 0}, "60×0 px"),
        ({"rows": "x" * 5000}, "rows"),
        ({"cols": 10**9}, "cols"),
        ({"rows": 32768, "cols": 32768}, "the total"),
        ({"rows": 5}, "scale 0.5"),
        ({"height": 0.001, "top": 0}, "scale 30000"),
    ],
)
def test_invalid_windows_are_refused(served, changes, reason):
    status, _, body = served(wanted(served, **changes))
    error = json.loads(body)["error"]
    assert status == 400 and reason in error and len(error) < 200


def test_bicubic_reduces_what_no_model_does(served):
    whole = {"top": 0, "left": 0, "height": 40, "width": 60, "rows": 4, "cols": 6}
    body = served(wanted(served, method="bicubic", **whole))[2]
    assert np.abs(pixels_of(body, 4, 6).mean() - served.picture.pixels.mean()) < 2


def encoded(pixels, form="PNG"):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def test_a_dropped_picture_is_opened(served):
    query = urlencode({"name": "../../né w.png"})
    status, _, body = served(f"/pictures?{query}", "POST", encoded(texture(33, 44, 7)))
    about = json.loads(body)
    assert status == 200
    assert about["name"] == "né w.png" and (about["width"], about["height"]) == (44, 33)
    assert about in json.loads(served("/state")[2])["pictures"]
    corner = {"top": 0, "left": 0, "height": 4, "width": 4, "rows": 4, "cols": 4}
    body = served(wanted(served, picture=about["id"], method="bicubic", **corner))[2]
    assert (pixels_of(body, 4, 4) == texture(33, 44, 7)[:4, :4]).all()


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (b"", 400, "empty"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", 400, "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 400, "not an image"),
        (encoded(texture(33, 44))[:300], 400, "x.png: cannot read"),
        (encoded(texture(50, 50)), 400, "LIIF_MAX_PIXELS"),
        (bytes(20_001), 413, "larger than"),
    ],
)
def test_uploads_that_cannot_be_opened_are_refused(served, monkeypatch, content, status, reason):
    monkeypatch.setattr(server, "MAX_UPLOAD", 20_000)
    monkeypatch.setenv("LIIF_MAX_PIXELS", "2K")
    before = served("/state")[2]
    got, _, body = served("/pictures?name=x.png", "POST", content)
    error = json.loads(body)["error"]
    assert got == status and reason in error and "/tmp" not in error
    assert served("/state")[2] == before


def test_old_pictures_are_closed_beyond_the_capacity(served, monkeypatch):
    served.viewer.pictures._others._capacity, capacity = 10_000, server.MAX_UPLOAD
    ids = [
        json.loads(served("/pictures?name=p", "POST", encoded(texture(40, 50, i)))[2])["id"]
        for i in range(1, 4)
    ]
    assert served(wanted(served, picture=ids[0]))[0] == 404
    assert served(wanted(served, picture=ids[2]))[0] == 200
    assert served(wanted(served))[0] == 200  # the first one stays
    served.viewer.pictures._others._capacity = capacity


def test_rendering_stops_when_the_page_has_gone(served, monkeypatch):
    made, last = [], 5000

    def slow(picture, view):
        for row in range(last):
            time.sleep(0.01)
            made.append(row)
            yield row, np.zeros((1, 500, 3), np.uint8)

    monkeypatch.setattr(served.viewer.renderer, "strips", slow)
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        target = f"{wanted(served)}&token={served.viewer.tokens.token}"
        request = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n\r\n"
        connection.sendall(request.encode())
        assert connection.recv(1000)
        while not made:
            time.sleep(0.01)
    count = -1
    while count < len(made):
        count = len(made)
        time.sleep(0.5)
    assert count < last


def test_layers_ask_whether_anyone_waits_for_them(served, monkeypatch):
    """So that encoding for a page that has gone does not keep others waiting."""
    asked = []
    monkeypatch.setattr(served.viewer.model_worker, "check", lambda: asked.append(0))
    body = served("/pictures?name=p", "POST", encoded(texture(40, 60, 11)))[2]
    assert served(wanted(served, picture=json.loads(body)["id"]))[0] == 200
    layers = list(served.viewer.renderer.models["tiny"].encoder.modules())
    assert len(asked) >= len(layers) - 3


def test_addresses_in_the_page_are_relative(served):
    """A proxy may serve it under a path, as Jupyter's does."""
    for file in server.PAGE.iterdir():
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"""(src=|href=|url\(|fetch\(|from |import )\s*["'`]?/""", text), file


def test_a_missing_extra_is_named(refused, tiny_checkpoint, monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("liif.view", "starlette"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "starlette", None)
    assert "pip install 'liif[view]'" in refused("view", "--checkpoint", tiny_checkpoint)


def test_wrong_arguments_are_reported_before_serving(refused, photos, tiny_checkpoint):
    use = "--checkpoint", tiny_checkpoint, "--no-browser"
    assert "no.png" in refused("view", "no.png", *use)
    assert "no.pt" in refused("view", photos / "a.png", "--checkpoint", "no.pt", "--no-browser")
    assert "65535" in refused("view", photos / "a.png", *use, "--port", "99999")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"{port} is taken" in refused("view", photos / "a.png", *use, "--port", port)


@pytest.fixture
def started(cli, photos, tiny_checkpoint, monkeypatch):
    """Start the command without serving: what it has printed, the address that a browser was
    started with, and the server's application and address."""
    for name in ("SSH_CONNECTION", "DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)

    def run(*options):
        opened, served = [], []

        class Server:
            def __init__(self, app):
                served.append(app)

            def run(self, sockets):
                served.append(sockets[0].getsockname()[:2])
                sockets[0].close()

        monkeypatch.setattr(server, "make_server", Server)
        monkeypatch.setattr(webbrowser, "open", opened.append)
        use = "view", photos / "a.png", "--checkpoint", tiny_checkpoint, "--port", 0
        status, out, err = cli(*use, *options)
        assert status == 0
        for thread in threading.enumerate():
            if thread.name == "browser":
                thread.join(30)
        return out, err, opened, *served

    return run


def test_a_browser_is_started_with_a_token_that_is_not_the_printed_one(started):
    """Command lines are visible to all users of a machine."""
    out, _, (address,), _, at = started()
    assert at[0] == "127.0.0.1" and f"http://127.0.0.1:{at[1]}/?token=" in out
    assert address.partition("=")[0] in out and address not in out
    assert started("--no-browser")[2] == []


def test_over_ssh_the_way_to_the_port_is_printed(started, monkeypatch):
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.1 5 10.0.0.2 22")
    out, _, opened, _, (_, port) = started()
    assert f"ssh -N -L {port}:127.0.0.1:{port} " in out and opened == []
    monkeypatch.setenv("BROWSER", "an editor's, which forwards the port")
    out, _, opened, *_ = started()
    assert "ssh" not in out and len(opened) == 1


def test_other_addresses_and_names_on_request(started, refused):
    out, err, _, app, at = started("--host", "0.0.0.0", "--allow-host", "Hub.example.org")
    assert at[0] == "0.0.0.0" and "http://127.0.0.1:" in out and "unencrypted" in err
    guard = next(part for part in app.user_middleware if part.cls is Guard)
    assert guard.kwargs == {"names": {"hub.example.org"}, "any_address": True}
    for host in ("localhost", "127.0.0.2"):
        out, err, *_, app, at = started("--host", host)
        assert at[0].startswith("127.") and err == ""
        guard = next(part for part in app.user_middleware if part.cls is Guard)
        assert guard.kwargs == {"names": frozenset(), "any_address": False}
    assert "must be an IP address" in refused("view", "--host", "lab.example.org")
    use = "view", "--no-browser", "--port", 0
    assert "cannot listen on 203.0.113.9" in refused(*use, "--host", "203.0.113.9")


def test_the_command_serves_until_it_is_interrupted(photos, tiny_checkpoint, tmp_path):
    command = [sys.executable, "-m", "liif", "view", photos / "a.png", "--no-browser"]
    command += ["--checkpoint", tiny_checkpoint, "--checkpoint", tiny_checkpoint, "--port", "0"]
    process = processes.Popen(command, stdout=processes.PIPE, stderr=processes.PIPE, env=os.environ)
    try:
        line = process.stdout.readline()
        address = re.search(r"http://(127\.0\.0\.1:\d+)/\?token=([\w-]{32})\s", line)
        connection = http.client.HTTPConnection(address[1], timeout=30)
        connection.request("GET", f"/state?token={address[2]}")
        state = json.loads(connection.getresponse().read())
        assert state["pictures"][0]["name"] == "a.png"
        assert len({model["name"] for model in state["models"]}) == 2
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130 and err == "interrupted\n"
