"""URLs with passwords in them: showing them without, and using them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit, urlunsplit

# Up to the last "@": a password may hold "@", "/" and spaces that its owner did not escape, and hiding too much does no
# harm.
_USERINFO = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)[^\n]*@")
# Query parameters that cameras take a password in.
_SECRET_QUERY = re.compile(
    r"([?&;](?:pass|passwd|password|pwd|token|key|auth|secret|apikey|api_key|sig|signature)=)[^&;#\s'\"]+", re.I
)


def redact(text: str) -> str:
    """``text`` with every user name, password and token of the URLs in it replaced by ``***``."""
    text = _USERINFO.sub(r"\g<scheme>***@", text)
    return _SECRET_QUERY.sub(r"\1***", text)


@dataclass(frozen=True, slots=True)
class Login:
    user: str
    password: str

    def __repr__(self) -> str:  # never let a password into a log through a repr
        return "Login(***)"


def split_login(url: str) -> tuple[str, Login | None]:
    """The URL without ``user:password@``, and those, percent-decoded."""
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None
    user, _, password = userinfo.partition(":")
    return urlunsplit(parts._replace(netloc=host)), Login(unquote(user), unquote(password))


def with_login(url: str, login: Login) -> str:
    """The URL with the login in it, percent-encoded so that any character survives."""
    parts = urlsplit(url)
    userinfo = f"{quote(login.user, safe='')}:{quote(login.password, safe='')}"
    return urlunsplit(parts._replace(netloc=f"{userinfo}@{parts.netloc.rpartition('@')[2]}"))
