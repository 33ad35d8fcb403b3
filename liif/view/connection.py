"""Connections that do not keep others waiting.

uvicorn limits the time between two requests, but not the time that a client takes to send one or to
read its response, and it refuses requests while there are many connections, idle ones included.
"""

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

CHECK_S = 60
"""Seconds between two checks. A connection without progress from one to the next is closed."""
BUFFER = 2**19
"""Bytes that the system keeps of a response. What a slow client reads is seen only as they go."""
MAX_CONNECTIONS = 100
"""Beyond, the idle connection that has been silent for longest is closed for each new one."""


class Connection(H11Protocol):
    """One client's connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        system = transport.get_extra_info("socket")
        system.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self._heard_at = self.loop.time()
        self._resumed = 0
        self._before = self._waiting_for()
        self._timer = self.loop.call_later(CHECK_S, self._check)
        others = [other for other in self.connections if isinstance(other, Connection)]
        opened = [other for other in others if not other.transport.is_closing()]
        idle = [other for other in opened if other.is_idle and other is not self]
        if idle and len(opened) > MAX_CONNECTIONS:
            min(idle, key=lambda other: other._heard_at).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._heard_at = self.loop.time()
        super().data_received(data)

    def resume_writing(self) -> None:
        self._resumed += 1
        super().resume_writing()

    @property
    def is_idle(self) -> bool:
        """Whether no request of this client is being answered."""
        return not self.cycle or self.cycle.response_complete

    def _waiting_for(self) -> tuple[Any, ...] | None:
        """Return what the client has to go on with, as a value that is another one once it has;
        None if the next step is the server's."""
        if self.flow.write_paused:  # read the response
            return self._resumed, self.transport.get_write_buffer_size()
        return (self.cycle,) if self.is_idle else None  # send a request

    def _check(self) -> None:
        now = self._waiting_for()
        if now is not None and now == self._before:
            self.transport.abort()
            return
        self._before = now
        self._timer = self.loop.call_later(CHECK_S, self._check)
