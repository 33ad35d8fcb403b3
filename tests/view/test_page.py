"""The page of `liif view`, used through headless Chromium."""

import base64
import io
import shutil
import time

import numpy as np
import pytest
from helpers.pictures import texture
from PIL import Image

pytest.importorskip("starlette", reason="needs the extra [view]")
pytest.importorskip("uvicorn", reason="needs the extra [view]")
pytest.importorskip("playwright.sync_api", reason="needs playwright")

from helpers.viewing import (
    H,
    W,
    address,
    canvas,
    expected,
    finished,
    new_entry,
    settled,
    tiny_model,
    viewing,
)
from playwright import sync_api

from liif.images.rgb8 import write_image
from liif.view.render import BICUBIC

NAMES = "chromium", "chromium-browser", "google-chrome"
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")


@pytest.fixture(scope="module")
def viewer(tmp_path_factory):
    path = tmp_path_factory.mktemp("view") / "a.png"
    write_image(path, texture(90, 120))
    models = {"one": tiny_model(1), "two": tiny_model(2)}
    with viewing(path, models) as (viewer, port):
        viewer.address = f"http://127.0.0.1:{port}/?token={viewer.tokens.token}"
        yield viewer


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, viewer):
    """Open the page with a fragment; at the end, check that the console is empty."""
    contexts = []

    def open(fragment="", **options):
        contexts.append(browser.new_context(**{"viewport": {"width": W, "height": 400}} | options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: open.complaints.append(message.text))
        page.on("pageerror", lambda error: open.complaints.append(str(error)))
        page.goto(viewer.address + fragment)
        finished(page)
        return page

    open.complaints = []
    yield open
    for context in contexts:
        context.close()
    assert open.complaints == []


VIEW = "#x=61.25&y=47.5&scale=12&split=0.5&left=bicubic&right=one"


def test_the_token_leaves_the_address(opened, viewer):
    page = opened(VIEW)
    plain = page.url.partition("#")[0]
    assert "?" not in plain and address(page)["scale"] == "12"
    page.reload()
    finished(page)
    assert address(page)["scale"] == "12" and page.text_content("#notice") == ""
    page.context.clear_cookies()
    page.reload()
    assert "printed an address" in page.inner_text("body")
    page.goto(viewer.address)
    finished(page)
    page.context.clear_cookies()
    page.keyboard.press("+")
    page.wait_for_selector("text=open the address that liif view has printed")
    assert all("403" in complaint for complaint in opened.complaints)  # the browser's own
    opened.complaints.clear()


def test_the_picture_is_shown_whole_and_sharp(opened, viewer):
    page = opened()
    assert "a.png" in page.title() and page.text_content("#extent") == "120 × 90"
    assert page.inner_text("#scale") == "×3.98"
    assert page.inner_text("#time").endswith(" s")
    shown = canvas(page)
    assert shown.shape == (H, W, 3)
    sides = expected(viewer, "two", 60, 45, H / 90, (H, round(120 * H / 90)))
    left = (W - sides.shape[1] + 1) // 2
    right_half = shown[:, W // 2 : left + sides.shape[1]].astype(int)
    assert np.abs(right_half - sides[:, W // 2 - left :][:, : right_half.shape[1]]).mean() < 6


def test_pixels_are_those_of_the_model_and_of_bicubic(opened, viewer):
    shown = canvas(opened(VIEW))
    at = {"x": 61.25, "y": 47.5, "scale": 12}
    plain, model = expected(viewer, BICUBIC, **at), expected(viewer, "one", **at)
    assert np.abs(plain - model).mean() > 5
    half = W // 2
    assert np.abs(shown[:, :half] - plain[:, :half]).max() <= 1
    assert np.abs(shown[:, half:] - model[:, half:]).max() <= 1


def test_twice_the_pixels_on_a_dense_screen(opened, viewer):
    view = {"viewport": {"width": 320, "height": 200}, "device_scale_factor": 2}
    page = opened("#x=60.1&y=45.2&scale=7.3&split=0", **view)
    shown = canvas(page)
    assert shown.shape[1] == W
    model = expected(viewer, "two", 60.1, 45.2, 7.3, shown.shape[:2])
    assert np.abs(shown - model).max() <= 1


def test_zooming_by_keys_and_wheel(opened, viewer):
    page = opened()
    for scale in ("×6", "×8", "×12"):
        page.keyboard.press("+")
        assert page.inner_text("#scale") == scale
    page.keyboard.press("2")
    assert page.inner_text("#scale") == "×2"
    page.keyboard.press("0")
    assert page.inner_text("#scale") == "×3.98"
    page.wait_for_timeout(1500)  # until that has its address
    with new_entry(page) as at:
        page.mouse.move(200, 100)
        page.mouse.wheel(0, -500)
    scale = float(at["scale"])
    assert scale == pytest.approx(H / 90 * np.e, rel=0.01)
    # What was under the pointer still is: 120 px to the left of the middle, 79 above it.
    assert float(at["x"]) - 120 / scale == pytest.approx(60 - 120 / (H / 90), abs=0.02)
    shown = canvas(page)[:, W // 2 :]
    model = expected(viewer, "two", float(at["x"]), float(at["y"]), scale)[:, W // 2 :]
    assert np.abs(shown - model).max() <= 1


def test_pixels_that_stay_visible_are_not_rendered_again(opened, viewer, monkeypatch):
    page = opened("#x=60&y=45&scale=12&split=0&right=one")
    asked, act = [], viewer.renderer.strips

    def noted(picture, view):
        asked.append(view)
        return act(picture, view)

    monkeypatch.setattr(viewer.renderer, "strips", noted)
    with new_entry(page) as at:
        page.mouse.move(300, 200)
        page.mouse.down()
        page.mouse.move(320, 190, steps=4)
        page.mouse.up()
    assert float(at["x"]) == pytest.approx(60 - 20 / 12, abs=1e-3)
    assert float(at["y"]) == pytest.approx(45 + 10 / 12, abs=1e-3)
    pixels = sum(view.size[0] * view.size[1] for view in asked if view.method == "one")
    assert 20 * H + 10 * W - 20 * 10 <= pixels < H * W / 8
    model = expected(viewer, "one", float(at["x"]), float(at["y"]), 12)
    assert np.abs(canvas(page) - model).max() <= 1


def test_a_newer_view_ends_the_older_ones(opened, viewer, monkeypatch):
    page = opened()
    views, act = [], viewer.renderer.strips

    def slow(picture, view):
        taken = [view, 0]
        views.append(taken)
        for strip in act(picture, view):
            time.sleep(0.1)
            taken[1] += len(strip[1])
            yield strip

    monkeypatch.setattr(viewer.renderer, "strips", slow)
    monkeypatch.setattr(viewer.renderer, "_rows", lambda view: 32)
    for _ in range(6):
        page.keyboard.press("+")
        page.wait_for_timeout(120)  # longer than the page waits before it asks
    settled(page)
    whole = [view for view, rows in views if view.method == "two" and rows == view.size[0]]
    begun = [view for view, _ in views if view.method == "two"]
    assert len(begun) >= 2
    assert len(whole) == 1 and whole[0].window.width == pytest.approx(W / 30)


def test_back_and_forward(opened):
    page = opened(VIEW)
    with new_entry(page) as second:
        page.keyboard.press("ArrowRight")
    with new_entry(page) as third:
        page.keyboard.press("6")
    assert float(second["x"]) > 61.25 and third["scale"] == "6"
    shown = []
    for move in (page.go_back, page.go_back, page.go_forward):
        move()
        settled(page)
        shown.append(address(page))
    assert [at["scale"] for at in shown] == ["12"] * 3
    assert [at["x"] for at in shown] == [second["x"], "61.25", second["x"]]


def test_a_shared_address_opens_the_same_view(opened):
    page = opened(VIEW)
    with new_entry(page):
        page.keyboard.press("ArrowUp")
    with new_entry(page) as there:
        page.keyboard.press("]")
    other = opened("#" + page.url.split("#")[1])
    assert address(other) == there and there["split"] == "0.52"
    assert np.abs(canvas(other).astype(int) - canvas(page)).max() <= 1


def test_the_divider_is_dragged_and_moved_by_keys(opened, viewer):
    page = opened(VIEW)
    plain, model = (expected(viewer, method, 61.25, 47.5, 12) for method in (BICUBIC, "one"))
    page.mouse.move(W / 2, 60)
    page.mouse.down()
    page.mouse.move(160, 70, steps=3)
    page.mouse.up()
    divider = page.locator("#divider")
    assert divider.get_attribute("aria-valuenow") == "25"
    page.wait_for_timeout(50)
    shown = canvas(page)
    assert np.abs(shown[:, :160] - plain[:, :160]).max() <= 1
    assert np.abs(shown[:, 160:] - model[:, 160:]).max() <= 1
    divider.focus()
    page.keyboard.press("End")
    page.wait_for_timeout(50)
    assert np.abs(canvas(page) - plain).max() <= 1
    page.select_option("#left", "two")
    settled(page)
    page.wait_for_timeout(50)
    assert np.abs(canvas(page) - expected(viewer, "two", 61.25, 47.5, 12)).max() <= 1


DROP = """([data, name]) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name));
  return transfer;
}"""


def drop(page, content, name):
    data = [base64.b64encode(content).decode(), name]
    transfer = page.evaluate_handle(DROP, data)
    page.dispatch_event("#canvas", "dragenter", {"dataTransfer": transfer})
    assert page.get_attribute("body", "class") == "dropping"
    page.dispatch_event("#canvas", "drop", {"dataTransfer": transfer})


def test_pictures_are_dropped(opened):
    page = opened(VIEW)
    file = io.BytesIO()
    Image.fromarray(texture(50, 300, 9)).save(file, "PNG")
    with new_entry(page):
        drop(page, file.getvalue(), "wide one.png")
    assert page.text_content("#name") == "wide one.png"
    assert page.text_content("#extent") == "300 × 50"
    assert page.inner_text("#scale") == "×2.13"
    page.go_back()
    settled(page)
    assert page.text_content("#name") == "a.png"


def test_files_that_are_not_images_are_refused(opened):
    page = opened()
    drop(page, b"hello", "notes.txt")
    page.wait_for_selector("text=notes.txt: cannot read the image")
    assert page.text_content("#name") == "a.png"
    assert all("400" in complaint for complaint in opened.complaints)  # the browser's own
    opened.complaints.clear()


def test_the_view_is_saved_as_png(opened):
    page = opened(VIEW)
    with page.expect_download() as download:
        page.keyboard.press("s")
    assert download.value.suggested_filename == "a-x12.png"
    saved = np.array(Image.open(download.value.path()).convert("RGB"))
    assert (saved == canvas(page)).all()


def test_pinching_with_two_fingers(opened):
    page = opened(VIEW)
    touches = page.context.new_cdp_session(page)

    def touch(kind, *points):
        points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        touches.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    with new_entry(page) as at:
        touch("touchStart", (220, 100), (260, 100))
        for spread in (25, 30, 40):
            touch("touchMove", (240 - spread, 100), (240 + spread, 100))
        touch("touchEnd")
    assert float(at["scale"]) == pytest.approx(24, rel=0.02)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(opened, scheme):
    page = opened("#x=60&y=45&scale=1", color_scheme=scheme)
    settled(page)
    ground = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (int(ground[4:].split(",")[0]) > 128) == (scheme == "light")


def test_reduced_pictures_and_help(opened):
    page = opened(viewport={"width": 100, "height": 100})
    assert not page.is_visible("#divider")
    page.keyboard.press("?")
    assert page.is_visible("text=Keys and gestures")
    page.keyboard.press("Escape")
    assert not page.is_visible("text=Keys and gestures")
