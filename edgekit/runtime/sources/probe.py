"""Why a network stream does not open, asked of the network itself: OpenCV only says that it did not."""

from __future__ import annotations

import socket
from base64 import b64encode
from typing import NoReturn
from urllib.parse import urlsplit

from edgekit.errors import CameraError
from edgekit.runtime.sources.urls import redact, split_login

_PORTS = {"rtsp": 554, "rtsps": 322, "rtmp": 1935, "http": 80, "https": 443}


def explain_stream(url: str, timeout_s: float) -> NoReturn:
    """Raises the most telling error for a URL that did not open.

    Raises:
        CameraError: always; no password in it.
    """
    name = redact(url)
    bare, login = split_login(url)
    parts = urlsplit(bare)
    port = _port(bare, name) or _PORTS.get(parts.scheme.lower())
    if parts.scheme.lower() in ("udp", "rtp", "srt") or port is None or not parts.hostname:
        raise CameraError(f"{name}: no stream there", hint="try it with ffplay on this machine")
    try:
        connection = socket.create_connection((parts.hostname, port), timeout=timeout_s)
    except socket.gaierror:
        raise CameraError(
            f"{name}: the host name is not known here", hint="check the spelling, or use its IP"
        ) from None
    except ConnectionRefusedError:
        raise CameraError(f"{name}: the connection is refused", hint=f"is a server listening on port {port}?") from None
    except TimeoutError:
        raise CameraError(f"{name}: no answer in {timeout_s:g} s", hint="is it on, and on this network?") from None
    except OSError as error:
        raise CameraError(f"{name}: cannot be reached: {error.strerror or error}") from None
    with connection:
        status = (
            _describe(connection, bare, None if login is None else f"{login.user}:{login.password}")
            if parts.scheme == "rtsp"
            else 0
        )
    if status == 401:
        given = "the user name or password is wrong" if login else "it asks for a user name and password"
        raise CameraError(f"{name}: {given}", hint="rtsp://user:password@host/path, with special characters as %40")
    if status == 404:
        raise CameraError(f"{name}: the server has no stream of that path", hint="the camera's manual gives the path")
    if status >= 400:
        raise CameraError(f"{name}: the server answers {status}")
    raise CameraError(f"{name}: the server answers, but gives no video that OpenCV can read", hint="try it with ffplay")


def _port(url: str, name: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        raise CameraError(f"{name}: the port is not a number from 1 to 65535") from None


def _describe(connection: socket.socket, url: str, login: str | None) -> int:
    """The status of an RTSP DESCRIBE (RFC 2326, 10.2), or 0 where the answer is none.

    A camera that wants digest authentication answers 401 to Basic too; it is told apart by FFmpeg having tried both.
    """
    lines = [f"DESCRIBE {url} RTSP/1.0", "CSeq: 1", "Accept: application/sdp"]
    if login is not None:
        lines.append(f"Authorization: Basic {b64encode(login.encode()).decode()}")
    try:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        answer = connection.recv(256).split(b" ", 2)
    except OSError:
        return 0
    return int(answer[1]) if len(answer) > 1 and answer[0].startswith(b"RTSP/") and answer[1].isdigit() else 0
