"""Who may look at a camera's picture."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

COOKIE = "edgekit-token"


@dataclass(frozen=True, slots=True)
class Access:
    """The rule for one server.

    On loopback everyone on this machine may look, but a request must name the machine itself as its host: otherwise
    any web page could reach the picture through a host name that resolves to 127.0.0.1 (DNS rebinding). Elsewhere a
    token is asked for, once in the URL and from then on in a cookie.
    """

    token: str | None

    @classmethod
    def for_host(cls, host: str, token: str | None = None) -> Access:
        """``token`` None makes one where one is needed; an empty one is as none."""
        return cls(token or (None if is_loopback(host) else secrets.token_urlsafe(18)))

    def allows(self, path: str, headers: Mapping[str, str]) -> bool:
        if self.token is None:
            return is_loopback(_hostname(headers.get("Host", "")))
        given = [*parse_qs(urlsplit(path).query).get("token", []), _cookie(headers.get("Cookie", ""))]
        authorization = headers.get("Authorization", "")
        if authorization.startswith("Bearer "):
            given.append(authorization.removeprefix("Bearer "))
        wanted = self.token.encode()
        return any(secrets.compare_digest(token.encode("utf-8", "replace"), wanted) for token in given)

    def cookie(self, path: str) -> str | None:
        """The Set-Cookie header for a request whose URL held the token; allowed requests only."""
        if self.token is None or "token" not in parse_qs(urlsplit(path).query):
            return None
        return f"{COOKIE}={self.token}; HttpOnly; SameSite=Strict; Path=/"


def is_loopback(host: str) -> bool:
    if host.casefold() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _hostname(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def _cookie(header: str) -> str:
    try:
        morsel = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel is not None else ""
