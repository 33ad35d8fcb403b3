"""Who may use the viewer: forwarded ports may, foreign pages and other users may not."""

import http.client
import itertools
import re

import pytest
from helpers.pictures import texture

pytest.importorskip("starlette", reason="needs the extra [view]")
pytest.importorskip("uvicorn", reason="needs the extra [view]")

from helpers.viewing import viewing

from liif.images.rgb8 import write_image
from liif.view import access


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("view") / "a.png"
    write_image(path, texture(10, 12))
    return path


@pytest.fixture(scope="module")
def served(picture):
    with viewing(picture) as (viewer, port):
        yield viewer.tokens, port


def ask(port, target, method="GET", **headers):
    """(status, headers, text) with nothing in the request but these headers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, target, headers={"Host": f"127.0.0.1:{port}"} | headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.headers, text


FORWARDED = [
    "127.0.0.1:9000",
    "localhost:9000",
    "LOCALHOST:9000",
    "localhost.:9000",
    "lab.localhost:9000",
    "[::1]:9000",
    "127.8.9.10:65535",
    "localhost",
]


@pytest.mark.parametrize("host", FORWARDED)
def test_ports_may_be_forwarded(served, host):
    tokens, port = served
    status, headers, _ = ask(port, f"/?token={tokens.token}", Host=host, Sec_Fetch_Site="none")
    assert status == 200
    cookie = headers["Set-Cookie"].partition(";")[0]
    own = {"Host": host, "Origin": f"http://{host}", "Cookie": cookie}
    for site in ({}, {"Sec_Fetch_Site": "same-origin"}):
        assert ask(port, "/state", **own, **site)[0] == 200
        assert ask(port, "/pictures?name=a", "POST", **own, **site)[0] == 400  # empty, not refused
    foreign = own | {"Origin": "http://localhost:9001"}
    assert ask(port, "/state", **foreign)[0] == 403
    assert ask(port, "/state", **foreign, Sec_Fetch_Site="same-site")[0] == 403
    proxied = own | {"Origin": "https://localhost:9001"}
    assert ask(port, "/state", **proxied, Sec_Fetch_Site="same-origin")[0] == 200


def test_names_of_a_proxy_and_addresses_of_a_machine_are_allowed_on_request(picture):
    with viewing(picture, names=frozenset({"hub.example.org"})) as (viewer, port):
        page = f"/?token={viewer.tokens.token}"
        own = {"Host": "Hub.example.org", "Origin": "https://hub.example.org"}
        assert ask(port, page, **own, Sec_Fetch_Site="same-origin")[0] == 200
        assert ask(port, page, Host="evil.example.org")[0] == 403
        assert ask(port, page, Host="192.168.0.7:80")[0] == 403
    with viewing(picture, any_address=True) as (viewer, port):
        page = f"/?token={viewer.tokens.token}"
        assert ask(port, page, Host="192.168.0.7:80")[0] == 200
        assert ask(port, page, Host="[fe80::1]:80")[0] == 200
        assert ask(port, page, Host="lab.example.org")[0] == 403
        assert ask(port, "/", Host="192.168.0.7:80")[0] == 403


EVERYTHING = ["/", "/state", "/view.js", "/view.css", "/icon.svg", "/render", "/pictures", "/gone"]


@pytest.mark.parametrize("target", EVERYTHING)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
def test_nothing_is_answered_without_the_token(served, target, method):
    tokens, port = served
    token, name = tokens.token, f"liif-view-{port}"
    for given in ("", "x", token[:-1], token + "x", token.swapcase(), "\xe9", "%"):
        query = given.replace("\xe9", "%C3%A9")
        status, headers, text = ask(port, f"{target}?token={query}", method)
        assert status == 403 and "Set-Cookie" not in headers and token not in text
        cookie = f"other={token}; {name}={given}"
        assert ask(port, target, method, Cookie=cookie)[0] == 403
    status = ask(port, target, method, Cookie=f"a=b; {name}={token}")[0]
    assert status in (200, 400, 404, 405)


def test_the_refusal_says_where_the_address_is(served):
    _, port = served
    status, headers, text = ask(port, "/")
    assert status == 403 and headers["Content-Type"].startswith("text/html")
    assert "?token=" in text and "terminal" in text and "<script" not in text
    assert "liif view has printed" in ask(port, "/state")[2]


def test_the_cookie_is_hidden_and_strict(served):
    tokens, port = served
    _, headers, _ = ask(port, f"/?token={tokens.token}")
    parts = [part.strip() for part in headers["Set-Cookie"].split(";")]
    assert parts[0] == f"liif-view-{port}={tokens.token}"
    assert set(parts[1:]) == {"HttpOnly", "SameSite=Strict"}  # ends with the browser
    cookie = parts[0]
    status, headers, _ = ask(port, "/?token=of-an-earlier-start", Cookie=cookie)
    assert status == 200 and "Set-Cookie" not in headers


def test_two_viewers_do_not_share_a_cookie(picture):
    """Browsers send cookies to every port of a host, whichever port set them."""
    with viewing(picture) as (one, port), viewing(picture) as (two, other):
        assert one.tokens.token != two.tokens.token
        cookies = []
        for viewer, at in ((one, port), (two, other)):
            headers = ask(at, f"/?token={viewer.tokens.token}")[1]
            cookies.append(headers["Set-Cookie"].partition(";")[0])
        assert len({cookie.partition("=")[0] for cookie in cookies}) == 2
        for order in itertools.permutations(cookies):
            for at in (port, other):
                assert ask(at, "/state", Cookie="; ".join(order))[0] == 200
        assert ask(port, "/state", Cookie=cookies[1])[0] == 403
        # Forwarded to two ports of one computer, they are told apart by those.
        seen = [
            ask(at, f"/?token={viewer.tokens.token}", Host=f"localhost:{forwarded}")[1]
            for viewer, at, forwarded in ((one, port, 9000), (two, other, 9001))
        ]
        assert len({headers["Set-Cookie"].partition("=")[0] for headers in seen}) == 2


def test_the_token_of_the_browsers_command_line_works_once(served):
    tokens, port = served
    single = tokens.single()
    assert single != tokens.token
    status, headers, _ = ask(port, f"/?token={single}")
    assert status == 200 and tokens.token in headers["Set-Cookie"]
    assert ask(port, f"/?token={single}")[0] == 403


def test_tokens_are_compared_in_constant_time(monkeypatch):
    compared = []

    def noted(a, b):
        compared.append((len(a), len(b)))
        return a == b

    monkeypatch.setattr(access.secrets, "compare_digest", noted)
    tokens = access.Tokens()
    assert re.fullmatch(r"[\w-]{32}", tokens.token)
    assert not tokens.accept("a" * 32) and tokens.accept(tokens.token)
    assert compared == [(32, 32), (32, 32)]
