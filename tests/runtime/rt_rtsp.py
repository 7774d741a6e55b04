"""An RTSP camera for tests, run as ``rt_rtsp.py PORT FPS [user:password]``: JPEG over RTP, inside the TCP connection.

As much of RTSP (RFC 2326) and RTP/JPEG (RFC 2435) as FFmpeg asks for. ``/live`` streams; ``/silent`` sends a second of
pictures and then nothing; every other path is 404.
"""

from __future__ import annotations

import base64
import contextlib
import socketserver
import struct
import sys
import threading
import time

import cv2
import numpy as np

WIDTH, HEIGHT = 320, 240
SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\n"
    "c=IN IP4 0.0.0.0\r\na=control:track1\r\na=framerate:{fps}\r\n"
)


def jpeg_parts(number: int) -> tuple[bytes, bytes]:
    """(both quantization tables, entropy-coded data) of a red picture with a number."""
    picture = np.full((HEIGHT, WIDTH, 3), (0, 0, 255), np.uint8)
    cv2.putText(picture, str(number), (10, 120), cv2.FONT_HERSHEY_SIMPLEX, 2, (255, 255, 255), 3)
    data = cv2.imencode(".jpg", picture)[1].tobytes()
    tables, position = b"", 2
    while True:
        marker, length = data[position + 1], struct.unpack(">H", data[position + 2 : position + 4])[0]
        body = data[position + 4 : position + 2 + length]
        position += 2 + length
        if marker == 0xDB:
            for start in range(0, len(body), 65):
                tables += body[start + 1 : start + 65]
        if marker == 0xDA:
            return tables, data[position:-2]


class Camera(socketserver.StreamRequestHandler):
    fps = 25.0
    login = ""

    def handle(self) -> None:
        self.lock, self.playing = threading.Lock(), False
        with contextlib.suppress(OSError, ValueError):
            while request := self.request_lines():
                self.answer(request)

    def request_lines(self) -> list[str]:
        lines = []
        while True:
            first = self.rfile.read(1)
            if not first:
                return []
            if first == b"$":  # the client's own RTCP, between two requests
                self.rfile.read(struct.unpack(">xH", self.rfile.read(3))[0])
                continue
            line = (first + self.rfile.readline()).decode("latin-1").rstrip()
            if line:
                lines.append(line)
            elif lines:
                return lines

    def answer(self, request: list[str]) -> None:
        method, url, _ = request[0].split(" ", 2)
        headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in request[1:])}
        path = "/" + url.split("://", 1)[1].partition("/")[2]
        status, extra, body = "200 OK", [], ""
        wanted = "Basic " + base64.b64encode(self.login.encode()).decode()
        if self.login and method != "OPTIONS" and headers.get("authorization") != wanted:
            status, extra = "401 Unauthorized", ['WWW-Authenticate: Basic realm="camera"']
        elif method == "OPTIONS":
            extra = ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER"]
        elif not path.startswith(("/live", "/silent")):
            status = "404 Not Found"
        elif method == "DESCRIBE":
            body = SDP.format(fps=self.fps)
            extra = ["Content-Type: application/sdp", f"Content-Base: {url.rstrip('/')}/"]
        elif method == "SETUP" and "TCP" not in headers.get("transport", ""):
            status = "461 Unsupported Transport"
        elif method == "SETUP":
            extra = ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 1;timeout=60"]
        elif method == "PLAY":
            extra = ["Session: 1", "Range: npt=0.000-"]
        lines = [f"RTSP/1.0 {status}", f"CSeq: {headers.get('cseq', '0')}", *extra]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        with self.lock:
            self.wfile.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
        if method == "PLAY" and status.startswith("200") and not self.playing:
            self.playing = True
            threading.Thread(target=self.play, args=(path.startswith("/silent"),), daemon=True).start()

    def play(self, falls_silent: bool) -> None:
        sequence, number, began = 0, 0, time.monotonic()
        with contextlib.suppress(OSError, ValueError):
            while not (falls_silent and number > 2 * self.fps):
                tables, scan = jpeg_parts(number)
                stamp = int((time.monotonic() - began) * 90_000)
                for offset in range(0, len(scan), 1200):
                    piece = scan[offset : offset + 1200]
                    last = offset + 1200 >= len(scan)
                    rtp = struct.pack(">BBHII", 0x80, 26 | (0x80 if last else 0), sequence & 0xFFFF, stamp, 7)
                    header = struct.pack(">I", offset) + bytes((1, 255, WIDTH // 8, HEIGHT // 8))
                    if offset == 0:
                        header += struct.pack(">BBH", 0, 0, len(tables)) + tables
                    packet = rtp + header + piece
                    with self.lock:
                        self.wfile.write(b"$\0" + struct.pack(">H", len(packet)) + packet)
                    sequence += 1
                number += 1
                time.sleep(max(0.0, began + number / self.fps - time.monotonic()))


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    Camera.fps, Camera.login = float(sys.argv[2]), [*sys.argv, ""][3]
    Server(("127.0.0.1", int(sys.argv[1])), Camera).serve_forever()
