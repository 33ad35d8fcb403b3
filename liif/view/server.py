"""The viewer's web server.

GET /             the page; /FILE for its other files
GET /state        open images and available models, as JSON
GET /render       a window of an image, in strips
POST /pictures    open an image; the body is its file
"""

import asyncio
import contextlib
import math
import struct
import tempfile
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

import anyio
import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from liif.core.errors import UserError
from liif.core.sizes import Window
from liif.images.rgb8 import Pixels
from liif.view.access import Access, Tokens
from liif.view.connection import MAX_CONNECTIONS, Connection
from liif.view.guard import Guard
from liif.view.pictures import Picture, Pictures, read_upload
from liif.view.render import BICUBIC, Renderer, View
from liif.view.worker import Worker

PAGE = Path(__file__).parent / "page"
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
MAX_VIEW, MAX_SIDE = 2**26, 2**15
"""Largest number of pixels, and largest side, of a window."""
MAX_UPLOAD = 2**28
"""Largest file of an image, in bytes."""
STALL_S, UPLOAD_S = 30, 600
"""Seconds that an upload may take from one part to the next, and altogether."""


class Viewer:
    """Open images, models and the endpoints that serve them."""

    def __init__(self, first: Picture, renderer: Renderer) -> None:
        self.pictures = Pictures(first)
        self.renderer = renderer
        self.tokens = Tokens()
        # With a thread of its own, bicubic does not wait for a model.
        self.model_worker, self.bicubic_worker = Worker(), Worker()
        for model in renderer.models.values():
            for layer in model.modules():  # so that encoding for a closed page can end
                layer.register_forward_pre_hook(lambda *_: self.model_worker.check())
        self.reading = asyncio.Semaphore(2)  # uploads that are decoded at a time

    def app(self, names: frozenset[str] = frozenset(), any_address: bool = False) -> Starlette:
        """Return the application; the options are those of `Guard`."""
        routes = [
            *(_file_route(file) for file in PAGE.iterdir() if file.suffix[1:] in TYPES),
            Route("/state", self.state),
            Route("/render", self.render),
            Route("/pictures", self.add, methods=["POST"]),
        ]
        guard = Middleware(Guard, names=names, any_address=any_address)
        access = Middleware(Access, tokens=self.tokens)
        return Starlette(routes=routes, middleware=[guard, access], lifespan=self._running)

    @contextlib.asynccontextmanager
    async def _running(self, app: Starlette) -> AsyncGenerator[None, None]:
        """Encode the first image while the browser starts."""
        task = asyncio.create_task(self._prepare())
        yield
        task.cancel()

    async def _prepare(self) -> None:
        picture = self.pictures.first
        for name in self.renderer.models:
            nothing = (b"" for _ in self.renderer.prepare(picture, [name]))
            async for _ in self.model_worker.run(nothing, (picture.id, name), is_background=True):
                pass

    async def state(self, request: Request) -> Response:
        kinds = {name: type(m.decoder).__name__ for name, m in self.renderer.models.items()}
        models = [{"name": name, "kind": kind} for name, kind in kinds.items()]
        return JSONResponse({"pictures": self.pictures.describe(), "models": models})

    async def render(self, request: Request) -> Response:
        """Stream strips: first row and number of rows as little-endian uint32, then RGBA pixels."""
        query = request.query_params
        picture = self.pictures.get(query.get("picture", ""))
        if picture is None:
            return _refusal(404, "this image is no longer open; drop it here again")
        try:
            view = _view(query, picture, {BICUBIC, *self.renderer.models})
        except ValueError as error:
            return _refusal(400, str(error))
        parts = map(_packed, self.renderer.strips(picture, view))
        worker = self.bicubic_worker if view.method == BICUBIC else self.model_worker
        return _Stream(worker.run(parts, (picture.id, view.method)))

    async def add(self, request: Request) -> Response:
        """Open the image in the body and return its description, as in /state."""
        name = Path(request.query_params.get("name", "")).name[:200] or "picture"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "picture"
            if (refusal := await _receive(request, path, name)) is not None:
                return refusal
            async with self.reading:
                if await request.is_disconnected():  # nobody waits for it any more
                    return Response(status_code=204)
                try:
                    picture = await asyncio.to_thread(read_upload, path, name)
                except UserError as error:
                    return _refusal(400, str(error).replace(str(path), name))
        self.pictures.add(picture)
        return JSONResponse(picture.describe())


async def _receive(request: Request, path: Path, name: str) -> Response | None:
    """Write the body to a file; return the refusal of one that is too large or too slow."""
    too_large = _refusal(413, f"{name}: larger than the limit of {MAX_UPLOAD >> 20} MB")
    if int(request.headers.get("content-length", 0)) > MAX_UPLOAD:
        return too_large
    size, parts = 0, aiter(request.stream())
    try:
        with path.open("wb") as file, anyio.fail_after(UPLOAD_S):
            while True:
                with anyio.fail_after(STALL_S):
                    part = await anext(parts, None)
                if part is None:
                    return None
                size += file.write(part)
                if size > MAX_UPLOAD:
                    return too_large
    except TimeoutError:
        return _refusal(408, f"{name}: the upload took too long")
    except OSError as error:
        return _refusal(507, f"{name}: cannot store the upload: {error.strerror}")


class _Stream(StreamingResponse):
    """A streaming response that closes its generator when the client disconnects."""

    def __init__(self, parts: AsyncGenerator[bytes, None]) -> None:
        super().__init__(parts, media_type="application/octet-stream")
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with contextlib.aclosing(self._parts):
            await super().__call__(scope, receive, send)


def _file_route(file: Path) -> Route:
    async def answer(request: Request) -> Response:
        return Response(file.read_bytes(), media_type=TYPES[file.suffix[1:]])

    return Route("/" if file.name == "index.html" else f"/{file.name}", answer)


def _refusal(status: int, reason: str) -> Response:
    return JSONResponse({"error": reason}, status)


def _packed(strip: tuple[int, Pixels]) -> bytes:
    first, pixels = strip
    rgba = np.full((*pixels.shape[:2], 4), 255, np.uint8)
    rgba[..., :3] = pixels
    return struct.pack("<II", first, len(pixels)) + rgba.tobytes()


def _view(query: Mapping[str, str], picture: Picture, methods: set[str]) -> View:
    """Return the view of a query. Raises ValueError if it cannot be shown."""
    method = query.get("method", "")
    if method not in methods:
        raise ValueError(f"method={method[:50]!r}: must be one of {', '.join(sorted(methods))}")
    size = round(_number(query, "rows", MAX_SIDE)), round(_number(query, "cols", MAX_SIDE))
    if min(size) < 1 or size[0] * size[1] > MAX_VIEW:
        raise ValueError(f"{size[1]}×{size[0]} px: the total must be from 1 to {MAX_VIEW} px")
    spans: list[tuple[float, float]] = []
    keys = ("top", "height"), ("left", "width")
    for (first, length), N, n in zip(keys, size, picture.size, strict=True):
        start, extent = _number(query, first, n), _number(query, length, n)
        if extent <= 0 or start + extent > n + 1e-6:
            raise ValueError(f"{first}={start}, {length}={extent}: not inside the image")
        if not (method == BICUBIC or N / extent > 1 - 1e-6) or N / extent > 1.01 * picture.largest:
            raise ValueError(f"scale {N / extent:.6g}: must be from 1 to {picture.largest:.6g}")
        start = min(start, n - min(extent, n))
        spans.append((start, min(extent, n - start)))
    (top, height), (left, width) = spans
    return View(picture.id, method, Window(top, left, height, width), size)


def _number(query: Mapping[str, str], key: str, largest: float) -> float:
    try:
        number = float(query.get(key, ""))
    except ValueError:
        number = math.nan
    if not 0 <= number <= largest + 1e-6:
        raise ValueError(f"{key}: must be a number from 0 to {largest}")
    return number


def make_server(app: Starlette) -> uvicorn.Server:
    """Return a server; its `run(sockets=[…])` serves until it is interrupted."""
    config = uvicorn.Config(
        app,
        http=Connection,
        log_level="critical",
        ws="none",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS + 20,  # while none of them is idle
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)
