"""What keeps coming, to every viewer, from one thread: pictures and ticks."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import deque

from edgekit.runtime.bell import Bell
from edgekit.runtime.view.board import TICK_S, Board
from edgekit.runtime.view.gallery import Gallery

_log = logging.getLogger(__name__)

BOUNDARY = "frame"
_MOST_VIEWERS = 40
_PATIENCE_S = 10.0  # a viewer that takes nothing for this long is gone
_RETRY_S = 0.03  # how soon a viewer that had no room is tried again


class Streams:
    """Encodes each picture once and offers it to every viewer, without ever waiting for one.

    A viewer that has not taken the last picture whole gets the rest of it and misses those in between. However many
    look, there is one thread that competes with the loop for the interpreter, and it sleeps but for a few moments a
    second.

    Args:
        bell: rung by the gallery when it has a picture to encode.
    """

    def __init__(self, gallery: Gallery, board: Board, bell: Bell) -> None:
        self._gallery = gallery
        self._board = board
        self._bell = bell
        self._joining: deque[_Viewer] = deque()
        self._viewers: list[_Viewer] = []
        self._places = threading.BoundedSemaphore(_MOST_VIEWERS)
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="edgekit-view-streams", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends every stream."""
        self._stopped = True
        self._bell.ring()
        if self._thread.ident is not None:
            self._thread.join(2.0)

    def reserve(self) -> bool:
        """Whether there is room for one more viewer, who then must :meth:`join` or be given up by :meth:`release`."""
        return self._places.acquire(blocking=False)

    def release(self) -> None:
        self._places.release()

    def join(self, connection: socket.socket, camera: int | None, greeting: bytes = b"") -> None:
        """Takes a connection over, which has had its HTTP headers: for a camera's pictures, or for ticks (None)."""
        connection.setblocking(False)
        if self._stopped:
            connection.close()
            self.release()
            return
        self._joining.append(_Viewer(connection, camera, greeting))
        self._bell.ring()

    def _run(self) -> None:
        tick_at = time.monotonic()
        try:
            while not self._stopped:
                now = time.monotonic()
                tick = b""
                if now >= tick_at:
                    tick_at = max(tick_at + TICK_S, now)
                    tick = b"data: " + self._board.tick() + b"\n\n"
                while self._joining:
                    self._viewers.append(self._joining.popleft())
                self._serve(now, tick)
                behind = any(viewer.rest for viewer in self._viewers)
                self._bell.wait(min(tick_at - time.monotonic(), _RETRY_S if behind else TICK_S))
        except Exception:  # a mistake here must not end the loop; the page just stands still
            _log.warning("the live view stopped", exc_info=True)
        finally:
            for viewer in (*self._viewers, *self._joining):
                viewer.connection.close()

    def _serve(self, now: float, tick: bytes) -> None:
        for camera in {viewer.camera for viewer in self._viewers if viewer.camera is not None}:
            self._gallery.ask(camera)
        self._gallery.encode_waiting()
        parts: dict[int, tuple[int, bytes]] = {}
        gone = False
        for viewer in self._viewers:
            if viewer.camera is None:
                offer = tick
            else:
                if viewer.camera not in parts:
                    parts[viewer.camera] = self._part(viewer.camera)
                number, offer = parts[viewer.camera]
                if number <= viewer.number:
                    offer = b""
                elif not viewer.rest:
                    viewer.number = number
            gone |= not viewer.give(offer, now, look=bool(tick))
        if gone:
            for viewer in self._viewers:
                if viewer.over:
                    viewer.connection.close()
                    self.release()
            self._viewers = [viewer for viewer in self._viewers if not viewer.over]

    def _part(self, camera: int) -> tuple[int, bytes]:
        picture = self._gallery.latest(camera)
        if picture is None:
            return -1, b""
        head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture.jpeg)}\r\n\r\n"
        return picture.number, b"".join((head.encode(), picture.jpeg, b"\r\n"))


class _Viewer:
    """One open connection. ``rest`` is what of the last part it has not taken yet."""

    def __init__(self, connection: socket.socket, camera: int | None, greeting: bytes) -> None:
        self.connection = connection
        self.camera = camera
        self.number = -1
        self.rest = memoryview(greeting)
        self.took_at = time.monotonic()
        self.over = False

    def give(self, part: bytes, now: float, *, look: bool) -> bool:
        """Sends what it takes at once; ``part`` is left out where it still has some of an earlier one.

        Returns:
            False if it is gone; whether a silent one is gone is only seen with ``look``.
        """
        try:
            if not self.rest:
                self.rest, self.took_at = memoryview(part), now
            if self.rest:
                sent = self.connection.send(self.rest)
                self.rest, self.took_at = self.rest[sent:], now
            if look and self.connection.recv(4096) == b"":
                self.over = True
        except BlockingIOError:
            pass
        except OSError:
            self.over = True
        if now - self.took_at > _PATIENCE_S:
            self.over = True
        return not self.over
