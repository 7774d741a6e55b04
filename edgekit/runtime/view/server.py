"""The live view over HTTP: a thread a viewer, none of which the loop ever waits for."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from edgekit.runtime.view.access import Access
from edgekit.runtime.view.board import TICK_S, Board
from edgekit.runtime.view.gallery import Gallery

_log = logging.getLogger(__name__)

_PAGE = Path(__file__).with_name("page.html")
_MOST_VIEWERS = 40  # connections that stay open: pictures and events
_MOST_CONNECTIONS = 100  # of any kind, also those that have not shown a token yet: each is a thread
_SEND_TIMEOUT_S = 10.0  # a viewer that takes nothing for this long is gone
_SEND_BUFFER = 256 << 10  # what the kernel may hold for a slow viewer: a few pictures, not a minute of them
_BOUNDARY = "frame"
# Nothing from elsewhere, no framing; the page's own script and style are in it.
_POLICY = (
    "default-src 'none'; img-src 'self' data:; connect-src 'self'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


class ViewServer(ThreadingHTTPServer):
    """Serves ``/`` (the page), ``/stream.mjpg`` and ``/snapshot.jpg`` (``?camera=N``), ``/events``, ``/state.json``.

    Raises:
        OSError: the port cannot be listened on.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64  # a page opens several connections at once, and so do ten pages

    def __init__(self, host: str, port: int, gallery: Gallery, board: Board, cameras: int, access: Access) -> None:
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)
        self.gallery = gallery
        self.board = board
        self.cameras = cameras
        self.access = access
        self.ticker = Ticker(board.tick)
        self.stopped = threading.Event()
        self.viewers = threading.BoundedSemaphore(_MOST_VIEWERS)
        self._connections = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.1}, name="edgekit-view", daemon=True
        )

    def begin(self) -> None:
        self.ticker.start()
        self._thread.start()

    def end(self) -> None:
        """Stops listening; open connections end by themselves within a second."""
        self.stopped.set()
        self.shutdown()
        self.server_close()
        self.ticker.stop()
        self._thread.join(2.0)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._connections.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.debug("a viewer's connection failed", exc_info=True)


class Ticker:
    """Makes the page's state once a tick, whoever reads it."""

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._make = make
        self._wake = threading.Condition()
        self._number = 0
        self._data = b"{}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edgekit-view-ticker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(2.0)

    def wait(self, after: int, timeout_s: float) -> tuple[int, bytes] | None:
        """(number, JSON) of a tick later than ``after``, or None if none came in time."""
        with self._wake:
            if self._number <= after:
                self._wake.wait(timeout_s)
            return (self._number, self._data) if self._number > after else None

    def _run(self) -> None:
        while not self._stop.wait(TICK_S):
            data = self._make()
            with self._wake:
                self._number += 1
                self._data = data
                self._wake.notify_all()


class _Handler(BaseHTTPRequestHandler):
    server: ViewServer
    server_version = "edgekit"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = _SEND_TIMEOUT_S

    def setup(self) -> None:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        super().setup()

    def do_GET(self) -> None:
        if not self.server.access.allows(self.path, self.headers):  # type: ignore[arg-type]
            self._send(403, b"A token is asked for: open the address that `edgekit run` printed.\n", "text/plain")
            return
        path = urlsplit(self.path).path
        if path == "/":
            self._send(200, _PAGE.read_bytes(), "text/html; charset=utf-8", cookie=True)
        elif path == "/state.json":
            self._send(200, self.server.board.card(), "application/json")
        elif path in ("/stream.mjpg", "/snapshot.jpg"):
            self._pictures(snapshot=path == "/snapshot.jpg")
        elif path == "/events":
            self._stay(self._events)
        else:
            self._send(404, b"Not here.\n", "text/plain")

    def _pictures(self, *, snapshot: bool) -> None:
        text = parse_qs(urlsplit(self.path).query).get("camera", ["0"])[0]
        if not text.isdecimal() or int(text) >= self.server.cameras:
            self._send(404, b"No such camera.\n", "text/plain")
            return
        camera = int(text)
        if not snapshot:
            self._stay(lambda: self._stream(camera))
            return
        # The first asking only wakes the encoder: what it holds may be from a viewer an hour ago.
        self.server.gallery.wait(camera, -1, 0.0)
        seen = self.server.gallery.latest_number(camera)
        picture = self.server.gallery.wait(camera, seen, 2.0)
        if picture is None:
            self._send(503, b"No picture now.\n", "text/plain")
        else:
            self._send(200, picture.jpeg, "image/jpeg")

    def _stay(self, serve: Callable[[], None]) -> None:
        """Runs a connection that stays open, if there is room for one more."""
        if not self.server.viewers.acquire(blocking=False):
            self._send(503, b"Too many viewers.\n", "text/plain")
            return
        self.close_connection = True
        try:
            serve()
        except OSError:  # the viewer went away, or takes nothing
            pass
        finally:
            self.server.viewers.release()

    def _stream(self, camera: int) -> None:
        self._head(f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        number = -1
        while not self.server.stopped.is_set():
            picture = self.server.gallery.wait(camera, number, 1.0)
            if picture is None:
                continue
            number = picture.number
            head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture.jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + picture.jpeg + b"\r\n")

    def _events(self) -> None:
        self._head("text/event-stream")
        self.wfile.write(b"event: card\ndata: " + self.server.board.card() + b"\n\n")
        number = 0
        while not self.server.stopped.is_set():
            tick = self.server.ticker.wait(number, 1.0)
            if tick is not None:
                number = tick[0]
                self.wfile.write(b"data: " + tick[1] + b"\n\n")

    def _head(self, kind: str, length: int | None = None, status: int = 200, *, cookie: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Content-Security-Policy", _POLICY)
        if length is not None:
            self.send_header("Content-Length", str(length))
        else:
            self.send_header("Connection", "close")
        if cookie and (value := self.server.access.cookie(self.path)) is not None:
            self.send_header("Set-Cookie", value)
        self.end_headers()

    def _send(self, status: int, body: bytes, kind: str, *, cookie: bool = False) -> None:
        self._head(kind, len(body), status, cookie=cookie)
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a request's URL may hold the token."""
