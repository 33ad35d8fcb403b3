"""Refuse requests that do not come from the viewer's own page.

Any page in the same browser can send requests to this machine, and a page whose host name resolves
to this machine (DNS rebinding) could read the responses. Requests must therefore name this address
as host and come from the viewer's page.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """ASGI middleware that answers foreign requests with status 403."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        names = "127.0.0.1", "localhost"
        self._hosts = {f"{name}:{port}" for name in names} | {*(names if port == 80 else ())}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        app = self._app
        if self._is_foreign(Headers(scope=scope), scope["path"]):
            app = PlainTextResponse("refused: only the viewer's own page may send requests\n", 403)
        await app(scope, receive, send_with_headers)

    def _is_foreign(self, headers: Headers, path: str) -> bool:
        hosts = [host.lower() for host in headers.getlist("host")]
        origins = [origin.removeprefix("http://") for origin in headers.getlist("origin")]
        if len(hosts) != 1 or not {*hosts, *origins} <= self._hosts:
            return True
        # Following a link to the viewer, e.g. in a mail, is allowed: the linking page sees nothing.
        if path == "/" and headers.get("sec-fetch-dest") == "document":
            return False
        return headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
