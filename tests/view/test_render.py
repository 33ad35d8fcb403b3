"""The viewer's renderer: windows of the continuous image, strip by strip, with caches."""

import asyncio
import threading
import time

import numpy as np
import pytest
from helpers.pictures import texture
from helpers.viewing import tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st

from liif.core.sizes import Window
from liif.images.convert import to_image, to_tensor
from liif.view import render
from liif.view import worker as worker_module
from liif.view.bicubic import bicubic
from liif.view.cache import Cache
from liif.view.pictures import Picture
from liif.view.render import Renderer, View, outward
from liif.view.worker import AHEAD, Worker


def keys_cubic(x):
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def weights(first, length, count, n):
    """(count, n): of every pixel for every output, by the definition, renormalised at the edge."""
    step = length / count
    wide = max(step, 1)
    centres = first + (np.arange(count) + 0.5) * step
    table = [[keys_cubic((i + 0.5 - c) / wide) for i in range(n)] for c in centres]
    return np.array(table) / np.sum(table, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("window", "size"),
    [
        (Window(0, 0, 40, 60), (40, 60)),
        (Window(3.21, 10.8, 4.5, 7.25), (54, 87)),
        (Window(0, 0, 0.02, 0.03), (20, 30)),
        (Window(39.5, 59.5, 0.5, 0.5), (64, 64)),
        (Window(1.5, 2.25, 37.5, 50.5), (15, 21)),
        (Window(0, 0, 40, 60), (1, 1)),
    ],
)
def test_bicubic_of_a_window_follows_the_definition(window, size):
    image = texture(40, 60)
    y = weights(window.top, window.height, size[0], 40)
    x = weights(window.left, window.width, size[1], 60)
    exact = np.einsum("ri,cj,ijk->rck", y, x, image.astype(float)).clip(0, 255)
    whole = bicubic(image, window, size, (0, size[0]))
    assert whole.shape == (*size, 3)
    assert np.abs(whole - exact).max() < 1.6  # rounded to 8 bit after each axis
    middle = size[0] // 2
    halves = [(0, middle), (middle, size[0])] if middle else [(0, 1)]
    parts = np.concatenate([bicubic(image, window, size, rows) for rows in halves])
    assert np.abs(parts.astype(int) - whole).max() <= 1


@given(st.integers(0, 500), st.integers(1, 500), st.data())
def test_outward_takes_every_row_once_and_leaves_no_gap(first, count, data):
    band = first, first + count
    start = data.draw(st.integers(*band))
    seen = (start, start)
    for a, b in outward(band, start, lambda: data.draw(st.integers(1, 200))):
        assert a < b and (a == seen[1] or b == seen[0])
        seen = min(a, seen[0]), max(b, seen[1])
    assert seen == band


def picture_of(height, width, seed=0):
    return Picture(f"{height}x{width}", "a.png", texture(height, width, seed))


def assembled(strips, size):
    out = np.full((*size, 3), -1)
    for first, pixels in strips:
        part = out[first : first + len(pixels)]
        assert (part == -1).all()
        part[:] = pixels
    assert (out >= 0).all()
    return out


VIEWS = [
    ((0, 0, 50, 70), (100, 140)),
    ((10.3, 20.7, 12.5, 16.25), (150, 195)),
    ((0, 40.01, 50, 29.99), (60, 36)),
    ((49, 69, 1, 1), (90, 90)),
]


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize(("window", "size"), VIEWS)
def test_strips_are_the_window_of_the_whole_image(monkeypatch, window, size, is_large):
    """Also for large images, of which only regions are encoded."""
    model, picture = tiny_model(), picture_of(50, 70)
    view = View(picture.id, "tiny", Window(*window), size)
    field = model.encoded(to_tensor(picture.pixels)[None])
    expected = to_image(model.rendered(field, size, window=view.window)[0])
    assert np.ptp(expected) > 40
    if is_large:
        monkeypatch.setattr(render, "WHOLE", 0)
        monkeypatch.setattr(render, "REGION", 700)
    made = assembled(Renderer({"tiny": model}, "float32").strips(picture, view), size)
    assert np.abs(made - expected).max() <= 1


def test_encoded_once_and_finished_windows_are_kept(monkeypatch):
    model, calls = tiny_model(), {"encoded": 0, "rendered": 0}

    def counted(name):
        act = getattr(model, name)

        def counting(*args, **kwargs):
            calls[name] += 1
            return act(*args, **kwargs)

        monkeypatch.setattr(model, name, counting)

    counted("encoded")
    counted("rendered")
    renderer, picture = Renderer({"tiny": model}, "float32"), picture_of(50, 70)
    views = [View(picture.id, "tiny", Window(*window), size) for window, size in VIEWS]
    list(renderer.prepare(picture))
    first = [assembled(renderer.strips(picture, view), view.size) for view in views]
    assert calls["encoded"] == 1
    before = calls["rendered"]
    for view, pixels in zip(views, first, strict=True):
        assert (assembled(renderer.strips(picture, view), view.size) == pixels).all()
    assert calls == {"encoded": 1, "rendered": before}
    monkeypatch.setattr(render, "LARGEST_WINDOW", 1000)  # larger ones do not fill the memory
    other = View(picture.id, "tiny", Window(1, 2, 30, 40), (90, 120))
    list(renderer.strips(picture, other))
    once = calls["rendered"] - before
    list(renderer.strips(picture, other))
    assert calls["rendered"] == before + 2 * once > before


def test_the_first_strip_is_encoded_alone(monkeypatch):
    model, sizes = tiny_model(), []
    act = model.encoded

    def noted(lr, *args, **kwargs):
        sizes.append(lr.shape[-2:].numel())
        return act(lr, *args, **kwargs)

    monkeypatch.setattr(model, "encoded", noted)
    picture = picture_of(300, 300)
    strips = Renderer({"tiny": model}, "float32").strips(
        picture, View(picture.id, "tiny", Window(0, 0, 300, 300), (300, 300))
    )
    next(strips)
    assert len(sizes) == 1 and sizes[0] < 300 * 300 / 2
    list(strips)
    assert sizes[1:] == [300 * 300]


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 60)), max_size=40))
def test_a_cache_keeps_to_its_capacity(puts):
    cache = Cache(100)
    held = {}
    for key, size in puts:
        cache.put(key, size, size)
        held = {k: v for k, v in held.items() if k != key} | {key: size}
        while sum(held.values()) > 100:
            held.pop(next(iter(held)))
        assert sorted(cache.values()) == sorted(held.values())
    cache.put("too large", 101, 101)
    assert cache.get("too large") is None


def endless(made, name):
    while True:
        made.append(name)
        yield name.encode()


def test_a_new_view_comes_first_and_closed_views_end():
    entered, gate = threading.Event(), threading.Event()

    def gated(made):
        entered.set()
        gate.wait(60)
        yield from endless(made, "old")

    async def scenario():
        worker, made = Worker(), []
        old = worker.run(gated(made))
        waiting = asyncio.create_task(anext(old))
        while not entered.is_set():
            await asyncio.sleep(0.01)
        new = worker.run(endless(made, "new"))
        first = asyncio.create_task(anext(new))
        await asyncio.sleep(0)  # lets both tasks begin
        gate.set()
        assert await first == b"new" and await waiting == b"old"
        while made.count("new") < AHEAD:  # the worker stops when nobody takes the parts
            await asyncio.sleep(0.01)
        assert made[:2] == ["old", "new"]
        assert made.count("new") <= AHEAD + 1
        await new.aclose()
        await old.aclose()
        count = len(made)
        assert [part async for part in worker.run(iter([b"last"]))] == [b"last"]
        assert len(made) <= count + 1  # a part that was in progress

    asyncio.run(scenario())


def test_open_views_take_turns():
    """However fast the newest one is taken, the others go on."""
    made = []

    def slow(name):
        for part in endless(made, name):
            time.sleep(0.002)
            yield part

    async def take(view, count):
        for _ in range(count):
            await anext(view)
        await view.aclose()

    async def scenario():
        worker = Worker()
        views = [worker.run(slow(name)) for name in "abc"]
        older = asyncio.gather(take(views[0], 20), take(views[1], 20))
        await until(lambda: made)
        newest = asyncio.create_task(take(views[2], 500))
        await asyncio.wait_for(older, 30)
        assert max(map(made.count, "abc")) <= 20 + 2 * AHEAD
        newest.cancel()

    asyncio.run(scenario())


def layers(worker, computed, gate):
    """One part, of many layers that each ask whether anyone still waits for it."""
    for layer in range(10_000):
        worker.check()
        computed.append(layer)
        gate.wait(0.002)
    yield b"encoded"


async def until(condition):
    while not condition():
        await asyncio.sleep(0.002)


async def closed(worker, subject=None, is_background=False):
    """A view that its page has closed while the worker encodes for it: the layers computed, and
    an event that makes the others fast."""
    computed, gate = [], threading.Event()
    view = worker.run(layers(worker, computed, gate), subject, is_background)
    waiting = asyncio.create_task(anext(view))
    await until(lambda: computed)
    if not is_background:
        waiting.cancel()
        await asyncio.sleep(0)
        await view.aclose()
    return computed, gate


@pytest.mark.parametrize("is_background", [False, True])
def test_long_work_of_a_closed_page_gives_way(is_background):
    async def scenario():
        worker = Worker()
        computed, _ = await closed(worker, "one image", is_background)
        other = worker.run(iter([b"shown"]), "another image")
        assert await anext(other) == b"shown"
        assert len(computed) < 5_000
        assert [part async for part in worker.run(iter([b"next"]))] == [b"next"]

    asyncio.run(scenario())


def test_long_work_is_finished_for_a_next_view_that_needs_it():
    """As while zooming: the features are those of the same image."""

    async def scenario():
        worker = Worker()
        computed, gate = await closed(worker, "one image")
        asyncio.get_running_loop().call_later(0.05, gate.set)
        assert await anext(worker.run(iter([b"zoomed"]), "one image")) == b"zoomed"
        assert len(computed) == 10_000

    asyncio.run(scenario())


def test_long_work_that_nobody_needs_ends_by_itself(monkeypatch):
    monkeypatch.setattr(worker_module, "GRACE_S", 0.02)

    async def scenario():
        worker = Worker()
        computed, _ = await closed(worker)
        await until(lambda: worker._current is None)
        assert len(computed) < 5_000

    asyncio.run(scenario())


def test_a_view_that_fails_ends_and_the_next_one_is_made(caplog):
    def failing():
        yield b"1"
        raise RuntimeError("no memory")

    async def scenario():
        worker = Worker()
        assert [part async for part in worker.run(failing())] == [b"1"]
        assert [part async for part in worker.run(iter([b"2"]))] == [b"2"]

    asyncio.run(scenario())
    assert "RuntimeError: no memory" in caplog.text


def test_bf16_is_close():
    model, picture = tiny_model(), picture_of(50, 70)
    view = View(picture.id, "tiny", Window(3.3, 4.4, 20, 30), (100, 150))
    made = [
        assembled(Renderer({"tiny": model}, precision).strips(picture, view), view.size)
        for precision in ("float32", "bf16!")
    ]
    assert 0 < np.abs(made[0] - made[1]).max() < 12
