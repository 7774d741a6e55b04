"""One opening of a source, on a thread of its own, until it ends, breaks or is given up."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable

from edgekit.errors import EdgekitError, StreamError
from edgekit.runtime.capture.mailbox import Mailbox
from edgekit.runtime.frames import BufferPool, Frame
from edgekit.runtime.sources.base import CorruptFrameError, Source
from edgekit.runtime.sources.urls import redact

_log = logging.getLogger(__name__)

# So many undecodable pictures in a row are not bad luck but a broken stream.
_MOST_CORRUPT_IN_A_ROW = 100


# Threads that have not ended yet.
_running: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


def blocked() -> int:
    """How many capture threads are still inside a driver's call, after the runs they belonged to have ended.

    A process with such a thread should leave with ``os._exit``: should the call return while the interpreter is being
    taken down, Python ends the thread in the middle of C++ code, and that aborts the process.
    """
    return sum(thread.is_alive() for thread in _running)


class Attempt:
    """Reads a source into a mailbox.

    A blocking call into a driver cannot be ended from outside; an attempt that hangs is given up: it is told to stop
    and left to end by itself when the call returns. It then closes its source and says nothing more.

    Args:
        changed: called from the thread when the source gave its first frame, and when the attempt is over.
        gate: the thread opens the source and then waits for this before it reads, if given.
        every: hands on each Nth frame only, counting the others as dropped.
    """

    def __init__(
        self,
        source: Source,
        mailbox: Mailbox,
        *,
        camera: int,
        epoch: int,
        changed: Callable[[], None],
        gate: threading.Event | None = None,
        every: int = 1,
        live: bool = True,
    ) -> None:
        self._source = source
        self._mailbox = mailbox
        self._camera = camera
        self._epoch = epoch
        self._changed = changed
        self._gate = gate
        self._every = every
        self._live = live
        self._stop = threading.Event()
        self.obtained = ""
        self.opened = False
        self.frames = 0
        self.first_frame_at: float | None = None
        self.progress = time.monotonic()  # when something last happened
        self.waiting = False  # held up by a reader that has not taken the last frame: not the source's fault
        self.spoilt = ""  # what was wrong with the last picture that could not be decoded
        self.over = False
        self.error: EdgekitError | None = None
        self._thread = threading.Thread(target=self._run, name=f"edgekit-camera-{camera}.{epoch}", daemon=True)

    def start(self) -> None:
        self.progress = time.monotonic()
        _running.add(self._thread)
        self._thread.start()

    def give_up(self) -> None:
        """Tells the thread to end; returns at once."""
        self._stop.set()
        self._source.interrupt()

    def join(self, timeout_s: float) -> bool:
        """Whether the thread has ended within that time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.obtained = self._source.open()
            self.opened = True
            self.progress = time.monotonic()
            while self._gate is not None and not self._stop.is_set() and not self._gate.wait(0.2):
                pass
            self.progress = time.monotonic()
            self._read()
        except EdgekitError as error:
            self.error = error
        except Exception as error:  # a decoder's or a driver's own exception must end in a sentence
            _log.debug("camera %d: unexpected %s", self._camera, type(error).__name__, exc_info=True)
            self.error = StreamError(f"camera {self._camera}: {type(error).__name__}: {redact(str(error))}")
        finally:
            try:
                self._source.close()
            except Exception as error:
                _log.debug("closing a source failed: %s", redact(str(error)))
            self.over = True
            self._changed()

    def _read(self) -> None:
        pool = BufferPool()
        corrupt = 0
        number = 0
        stopped = self._stop.is_set
        while True:
            self.waiting = True
            if not self._mailbox.room(stopped):
                return
            self.waiting = False
            self.progress = time.monotonic()
            if self._every > 1 and number % self._every:
                if not self._source.skip():
                    return
                number += 1
                self.progress = time.monotonic()
                self._mailbox.count("every")
                continue
            try:
                shot = self._source.read(pool.take())
            except CorruptFrameError as error:
                corrupt += 1
                self.progress = time.monotonic()
                self._mailbox.count("corrupt")
                # A file that is skipped has a name; of a stream's spoilt pictures the count says enough.
                _log.log(logging.DEBUG if self._live or self.spoilt else logging.WARNING, "%s", error.message)
                self.spoilt = error.message
                if corrupt >= _MOST_CORRUPT_IN_A_ROW and self._live:
                    raise StreamError(f"{error.message}, {corrupt} times in a row") from error
                continue
            if shot is None:
                return
            if stopped():  # given up meanwhile: another attempt may already be delivering
                self._mailbox.count("shutdown")
                return
            corrupt = 0
            number += 1
            self.progress = time.monotonic()
            self._mailbox.put(Frame(shot.image, shot.captured_at, self._camera, self._epoch, pool))
            self.frames += 1
            if self.frames == 1:
                self.first_frame_at = self.progress
                self._changed()
