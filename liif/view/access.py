"""Admit only requests that carry the viewer's token.

Other users of a machine can connect to its loopback interface, too. The address that the command
prints contains the token, as Jupyter's does; from then on a cookie contains it.
"""

import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from liif.view.guard import port_of

REFUSAL = Path(__file__).parent / "refused.html"
REASON = "the viewer needs its token: open the address that liif view has printed"


class Tokens:
    """The token of one viewer, and tokens that are accepted once."""

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(24)
        self._single: list[str] = []

    def single(self) -> str:
        """Return a token for one request. Command lines are visible to all users of a machine, so
        this one is what a browser is started with."""
        self._single.append(secrets.token_urlsafe(24))
        return self._single[-1]

    def is_token(self, given: str) -> bool:
        return _is_equal(given, self.token)

    def accept(self, given: str) -> bool:
        """Return whether this is the token, or a single one, which is then used up."""
        used = [token for token in self._single if _is_equal(given, token)]
        for token in used:
            self._single.remove(token)
        return bool(used) or self.is_token(given)


class Access:
    """ASGI middleware that answers requests without a token with status 403.

    The token is the value of `token` in the query, or of the cookie which the first such request
    sets. The cookie ends with the browser, is sent to no other site, and is hidden from scripts.
    """

    def __init__(self, app: ASGIApp, tokens: Tokens) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        # Browsers send cookies to every port of a host: two viewers need two names. The port is
        # the one that the browser uses, which may be a forwarded one.
        name = f"liif-view-{port_of(headers.get('host', ''))}"
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Without a path, the cookie is limited to the one under which a proxy serves us.
                cookie = f"{name}={self._tokens.token}; HttpOnly; SameSite=Strict"
                MutableHeaders(scope=message).append("set-cookie", cookie)
            await send(message)

        if any(map(self._tokens.is_token, _cookies(headers, name))):
            await self._app(scope, receive, send)
        elif any(map(self._tokens.accept, given)):
            await self._app(scope, receive, send_with_cookie)
        elif scope["path"] == "/":
            await HTMLResponse(REFUSAL.read_bytes(), 403)(scope, receive, send)
        else:
            await JSONResponse({"error": REASON}, 403)(scope, receive, send)


def _is_equal(given: str, token: str) -> bool:
    """Compare in a time that tells nothing about the token."""
    return secrets.compare_digest(given.encode("utf-8", "replace"), token.encode())


def _cookies(headers: Headers, name: str) -> Iterator[str]:
    for line in headers.getlist("cookie"):
        for pair in line.split(";"):
            key, _, value = pair.strip().partition("=")
            if key == name:
                yield value
