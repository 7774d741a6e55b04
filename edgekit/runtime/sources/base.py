"""What a source of pictures is, and where its specification comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edgekit.errors import StreamError
from edgekit.runtime.frames import Image


class CorruptFrameError(StreamError):
    """One picture that cannot be decoded; the next one may be fine."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture: ``image`` uint8 ``[H, W, 3]`` BGR; ``captured_at`` in ``time.monotonic`` seconds."""

    image: Image
    captured_at: float


class Source(Protocol):
    """One opening of a camera, file or stream. Used by one thread, but for :meth:`interrupt`."""

    def open(self) -> str:
        """Opens it; may block for as long as the source's own timeout. Returns the setting obtained, for people.

        Raises:
            CameraError: it cannot be opened; the message says why and holds no password.
        """
        ...

    def read(self, buffer: Image | None) -> Shot | None:
        """The next picture, in ``buffer`` if that has the right shape; None at the end.

        Raises:
            CorruptFrameError: this picture is lost, go on.
            StreamError: nothing more will come from this opening.
        """
        ...

    def skip(self) -> bool:
        """Passes over one picture as cheaply as possible; False at the end. Raises as :meth:`read`."""
        ...

    def interrupt(self) -> None:
        """Called from another thread: makes a blocked call return soon, where that can be done."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """How to open one source, again and again.

    Attributes:
        name: for people; holds no password.
        live: pictures come when they come: silence is a stall, and an end an outage.
        make: a new, unopened source.
        recorded: the pictures were taken some other day, so how long one waited to be read says nothing: its age
            counts from when the loop takes it.
        newest: a newer picture replaces one that was not taken yet; otherwise each counts, in order. None: as ``live``.
        fingerprint: changes when there is something new to read (a file rewritten); None where nothing can say so.
    """

    name: str
    live: bool
    make: Callable[[], Source]
    recorded: bool = False
    fingerprint: Callable[[], object] | None = None
    newest: bool | None = None

    @property
    def newest_wins(self) -> bool:
        return self.live if self.newest is None else self.newest
