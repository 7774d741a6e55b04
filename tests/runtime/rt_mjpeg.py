"""An MJPEG camera for tests, run as ``rt_mjpeg.py PORT FPS WIDTHxHEIGHT [user:password]``. Standard library and OpenCV.

``/`` streams with Content-Length, ``/bare`` without, ``/snapshot`` gives one JPEG, ``/page`` a web page, ``/clip`` a
recording. ``/corrupt`` spoils every third picture, ``/resize`` changes the size every 10 pictures, ``/silent`` sends
one and then nothing, ``/trickle`` sends the second a byte at a time.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np


def jpeg(width: int, height: int, number: int) -> bytes:
    picture = np.full((height, width, 3), (0, 0, 255), np.uint8)
    cv2.putText(picture, str(number), (10, height // 2), cv2.FONT_HERSHEY_SIMPLEX, 1, (255, 255, 255), 2)
    return cv2.imencode(".jpg", picture)[1].tobytes()


def recording() -> bytes:
    """12 frames in an AVI file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.avi"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (64, 48))
        for number in range(12):
            writer.write(np.full((48, 64, 3), 20 * number, np.uint8))
        writer.release()
        return path.read_bytes()


class Camera(BaseHTTPRequestHandler):
    fps = 30.0
    size = (320, 240)
    login = ""

    def do_GET(self) -> None:
        if self.login:
            wanted = "Basic " + base64.b64encode(self.login.encode()).decode()
            if self.headers.get("Authorization") != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        if self.path == "/snapshot":
            self.simple("image/jpeg", jpeg(*self.size, 0))
        elif self.path == "/page":
            self.simple("text/html", b"<p>Camera</p>")
        elif self.path in ("/clip", "/clip.avi"):
            self.simple("video/avi", recording())
        elif self.path in ("/trickle", "/", "/bare", "/corrupt", "/resize", "/silent"):
            with contextlib.suppress(OSError):
                self.stream()
        else:
            self.send_error(404)

    def simple(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=--cut")
        self.end_headers()
        due = time.monotonic()
        for number in itertools.count():
            width, height = self.size
            if self.path == "/resize" and number // 10 % 2:
                width, height = width // 2, height // 2
            data = jpeg(width, height, number)
            if self.path == "/corrupt" and number % 3 == 2:
                data = data[: len(data) // 2]
            length = "" if self.path == "/bare" else f"Content-Length: {len(data)}\r\n"
            if self.path == "/trickle" and number:
                for byte in data:
                    self.wfile.write(bytes((byte,)))
                    time.sleep(0.1)
            self.wfile.write(f"--cut\r\nContent-Type: image/jpeg\r\n{length}\r\n".encode() + data + b"\r\n")
            if self.path == "/silent":
                time.sleep(600)
            due += 1 / self.fps
            time.sleep(max(0.0, due - time.monotonic()))

    def log_message(self, *_: object) -> None: ...


if __name__ == "__main__":
    port, fps, size, login = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], [*sys.argv, ""][4]
    Camera.fps, Camera.login = fps, login
    Camera.size = tuple(int(part) for part in size.split("x"))  # type: ignore[assignment]
    ThreadingHTTPServer.allow_reuse_address = True
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer(("127.0.0.1", port), Camera).serve_forever()
