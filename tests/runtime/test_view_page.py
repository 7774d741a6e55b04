"""The page in a real browser: on a desk, on a phone, and when the camera is gone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import rt_chromium
from rt_help import Running, free_port, wait_until

from edgekit.errors import StreamError
from edgekit.runtime.fakes import FakeSource, fake_spec, solid
from edgekit.runtime.health import ScriptedHealth
from edgekit.runtime.results import Health
from edgekit.runtime.view import View

pytestmark = pytest.mark.skipif(rt_chromium.find() is None, reason="no chromium on this machine")

RED, BLUE = solid(red=255, height=240, width=320), solid(blue=255, height=240, width=320)
HOT = Health(83.0, True, 4, ("throttled",), 41.0, 1500.0, 400 << 20, 906 << 20, 80 << 20)


def page(view: View, **how: object) -> rt_chromium.Browser:
    return rt_chromium.Browser(**{"width": 1100, "height": 800, **how})  # type: ignore[arg-type]


def test_the_page_shows_picture_answer_times_and_health(tmp_path: Path) -> None:
    specs = [fake_spec(lambda: FakeSource([RED] * 100_000, interval_s=0.02), live=True, name="<b>door</b>")]
    view = View(free_port())
    running = Running("fake", view, specs=specs, health=ScriptedHealth(HOT for _ in range(10**6)), delay_s=0.005)
    try:
        wait_until(lambda: view.url)
        with page(view) as browser:
            browser.open(view.url)
            browser.wait_for("document.querySelector('.camera img')?.naturalWidth === 320")
            browser.wait_for("document.querySelector('.answer')?.textContent === 'red'")
            text = browser.evaluate("document.body.innerText")
            for part in ("<b>door</b>", "83 °C", "throttled", "fake 0", "live", "green", "INFERENCE", "MODEL"):
                assert part.lower() in text.lower(), part
            browser.wait_for("document.getElementById('latency').getAttribute('d').split('L').length > 4")
            assert browser.evaluate("document.querySelectorAll('.bar').length") == 3
            width = browser.evaluate("parseFloat(document.querySelector('.bar span').style.width)")
            assert 99 < width <= 100
            time.sleep(0.5)
            browser.screenshot(tmp_path / "page.png")
            assert browser.console == []
        shown = cv2.imread(str(tmp_path / "page.png"))
        assert shown.shape == (800, 1100, 3)
        reddest = (shown[..., 2].astype(int) - shown[..., 1] > 200).mean()
        assert reddest > 0.15  # the camera's picture really is on the page
    finally:
        running.end()


@pytest.mark.parametrize("width", [320, 390])
def test_on_a_phone_nothing_is_wider_than_the_screen(width: int) -> None:
    name = "rtsp://***@a-camera-with-a-very-long-name.example.net:8554/streams/front-door/main?x=1"
    specs = [fake_spec(lambda: FakeSource([BLUE] * 100_000, interval_s=0.02), live=True, name=name)]
    view = View(free_port())
    running = Running("fake", view, specs=specs)
    try:
        wait_until(lambda: view.url)
        with page(view, width=width, height=700, mobile=True, dark=False) as browser:
            browser.open(view.url)
            browser.wait_for("document.querySelector('.answer')?.textContent === 'blue'")
            assert browser.evaluate("document.documentElement.scrollWidth") <= width
    finally:
        running.end()


def test_the_token_in_the_address_opens_everything() -> None:
    specs = [fake_spec(lambda: FakeSource([RED] * 100_000, interval_s=0.02), live=True)]
    view = View(free_port(), host="0.0.0.0")  # noqa: S104
    running = Running("fake", view, specs=specs)
    try:
        wait_until(lambda: view.url)
        token = view.url.partition("token=")[2]
        with page(view) as browser:
            browser.open(f"http://127.0.0.1:{view.url.split(':')[2].split('/')[0]}/?token={token}")
            browser.wait_for("document.querySelector('.camera img')?.naturalWidth === 320")
            assert token not in browser.evaluate("location.href")
            browser.evaluate("location.reload()")
            browser.wait_for("document.querySelector('.camera img')?.naturalWidth === 320")
    finally:
        running.end()


def test_an_outage_and_the_end_are_shown() -> None:
    out = threading.Event()

    def until_out() -> Iterator[object]:
        while not out.is_set():
            yield RED
        yield StreamError("the cable is out")

    openings = iter([until_out()])
    specs = [fake_spec(lambda: FakeSource(next(openings, [StreamError("still out")]), interval_s=0.02), live=True)]
    view = View(free_port())
    running = Running("fake", view, specs=specs)
    try:
        wait_until(lambda: view.url)
        with page(view) as browser:
            browser.open(view.url)
            browser.wait_for("!!document.querySelector('.camera.up')")
            out.set()
            browser.wait_for("!!document.querySelector('.camera.down')")
            browser.wait_for("!!document.querySelector('.past')")
            assert "the cable is out" in browser.evaluate("document.querySelector('.camera').innerText")
            running.end()
            browser.wait_for("document.getElementById('link').className === 'bad'")
    finally:
        running.end()


def test_a_browser_that_was_there_before_the_run_finds_the_next_one() -> None:
    port = free_port()
    specs = [fake_spec(lambda: FakeSource([RED] * 100_000, interval_s=0.02), live=True)]
    running = Running("fake", view := View(port), specs=specs)
    wait_until(lambda: view.url)
    with page(view) as browser:
        browser.open(view.url)
        browser.wait_for("document.querySelector('.answer')?.textContent === 'red'")
        running.end()
        specs = [fake_spec(lambda: FakeSource([BLUE] * 100_000, interval_s=0.02), live=True)]
        running = Running("fake", View(port), specs=specs)
        try:
            browser.wait_for("document.querySelector('.answer')?.textContent === 'blue'", 20)
            browser.wait_for(
                "(() => { const c = document.createElement('canvas'); c.width = c.height = 1;"
                "const i = document.querySelector('.camera img'); if (!i.naturalWidth) return false;"
                "const x = c.getContext('2d'); x.drawImage(i, 0, 0, 1, 1); const d = x.getImageData(0, 0, 1, 1).data;"
                "return d[2] > 150 && d[0] < 100; })()"
            )
        finally:
            running.end()


def test_the_screenshot_helper_sees_colours(tmp_path: Path) -> None:
    """So that a blank screenshot cannot pass for a page."""
    with rt_chromium.Browser(width=200, height=100) as browser:
        browser.open("data:text/html,<body style='background:rgb(255,0,0)'>")
        browser.wait_for("document.body && getComputedStyle(document.body).backgroundColor === 'rgb(255, 0, 0)'")
        browser.screenshot(tmp_path / "red.png")
    assert np.median(cv2.imread(str(tmp_path / "red.png")).reshape(-1, 3), axis=0).tolist() == [0, 0, 255]
