"""The live view over HTTP: who asks for what. What keeps coming is sent by ``streams.py``."""

from __future__ import annotations

import logging
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from edgekit.runtime.view.access import Access
from edgekit.runtime.view.board import Board
from edgekit.runtime.view.gallery import Gallery
from edgekit.runtime.view.streams import BOUNDARY, Streams

_log = logging.getLogger(__name__)

_PAGE = Path(__file__).with_name("page.html")
_MOST_CONNECTIONS = 100  # that have not said what they want or not got it yet, token or not: each is a thread
_TIMEOUT_S = 10.0  # a client that says and takes nothing for this long is gone
_SEND_BUFFER = 256 << 10  # what the kernel may hold for a slow viewer: a few pictures, not a minute of them
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

    def __init__(
        self, host: str, port: int, gallery: Gallery, board: Board, streams: Streams, cameras: int, access: Access
    ) -> None:
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)
        self.gallery = gallery
        self.board = board
        self.cameras = cameras
        self.access = access
        self.streams = streams
        self._kept: set[Any] = set()
        self._connections = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.1}, name="edgekit-view", daemon=True
        )

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Stops listening."""
        self.shutdown()
        self.server_close()
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

    def keep_open(self, request: Any) -> None:
        """The streams have this connection now: it stays open when the thread that it came with ends."""
        self._kept.add(request)

    def shutdown_request(self, request: Any) -> None:
        if request in self._kept:
            self._kept.discard(request)
            self.close_request(request)  # this descriptor only
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.debug("a viewer's connection failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: ViewServer
    server_version = "edgekit"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = _TIMEOUT_S

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
            self._stay("text/event-stream", None, b"event: card\ndata: " + self.server.board.card() + b"\n\n")
        else:
            self._send(404, b"Not here.\n", "text/plain")

    def _pictures(self, *, snapshot: bool) -> None:
        text = parse_qs(urlsplit(self.path).query).get("camera", ["0"])[0]
        if not text.isdecimal() or int(text) >= self.server.cameras:
            self._send(404, b"No such camera.\n", "text/plain")
            return
        camera = int(text)
        if not snapshot:
            self._stay(f"multipart/x-mixed-replace; boundary={BOUNDARY}", camera)
            return
        # Not the one that is held: it may be from a viewer an hour ago.
        held = self.server.gallery.latest(camera)
        picture = self.server.gallery.wait(camera, -1 if held is None else held.number, 2.0)
        if picture is None:
            self._send(503, b"No picture now.\n", "text/plain")
        else:
            self._send(200, picture.jpeg, "image/jpeg")

    def _stay(self, kind: str, camera: int | None, greeting: bytes = b"") -> None:
        """Answers with a stream, if there is room for one more."""
        if not self.server.streams.reserve():
            self._send(503, b"Too many viewers.\n", "text/plain")
            return
        self.close_connection = True
        try:
            self._head(kind)
            connection = self.request.dup()
        except OSError:  # gone already
            self.server.streams.release()
            raise
        self.server.keep_open(self.request)
        self.server.streams.join(connection, camera, greeting)

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
