"""Refuse requests that do not come from the viewer's own page.

Any page in the same browser can send requests to this machine, and a page whose host name resolves
to this machine (DNS rebinding) could read the responses. Requests must therefore name a loopback
host, and come from a page of the same host and port. The port may be any: it is another one if it
is forwarded, e.g. by ssh.
"""

import ipaddress
import re

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
HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^\s:/@\[\]]+)(:(?P<port>\d{1,5}))?", re.IGNORECASE)


def port_of(host: str) -> str:
    """Return the port of a Host header as the browser knows it."""
    match = HOST.fullmatch(host)
    return match["port"] or "80" if match else ""


class Guard:
    """ASGI middleware that answers foreign requests with status 403.

    `names` are host names to admit besides those of the loopback interface: those under which a
    proxy serves the viewer. `any_address` admits every IP address; a name can be rebound, but an
    address cannot.
    """

    def __init__(
        self, app: ASGIApp, names: frozenset[str] = frozenset(), any_address: bool = False
    ) -> None:
        self._app = app
        self._names = names
        self._any_address = any_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        app, headers = self._app, Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_known(hosts[0]):
            text = "refused: open the page as localhost, or see liif view --help: --allow-host\n"
            app = PlainTextResponse(text, 403)
        elif self._is_foreign(headers, hosts[0], scope["path"]):
            app = PlainTextResponse("refused: only the viewer's own page may send requests\n", 403)
        await app(scope, receive, send_with_headers)

    def _is_known(self, host: str) -> bool:
        match = HOST.fullmatch(host)
        if match is None:
            return False
        name = match["name"].lower().removesuffix(".")
        if name in self._names or name == "localhost" or name.endswith(".localhost"):
            return True
        try:
            address = ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return address.is_loopback or self._any_address

    def _is_foreign(self, headers: Headers, host: str, path: str) -> bool:
        site = headers.get("sec-fetch-site", "none")
        for origin in headers.getlist("origin"):
            if origin.lower() == f"http://{host.lower()}":
                continue
            # A proxy may speak TLS with the browser, or change the host that it asks for. The
            # browser then states that the page has the origin of the address it requested.
            scheme, _, other = origin.partition("://")
            is_proxied = scheme in ("http", "https") and self._is_known(other)
            if site != "same-origin" or not is_proxied:
                return True
        # Following a link to the viewer, e.g. in a mail, is allowed: the linking page sees nothing.
        if path == "/" and headers.get("sec-fetch-dest") == "document":
            return False
        return site not in ("none", "same-origin")
