"""The page's figures: what is true now, and the last minute in ticks."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from edgekit.runtime.results import Dropped, Event, Health, Result, Session, SourceDown, SourceUp

TICK_S = 0.25
_HISTORY = 240  # ticks: one minute


class Board:
    """Written by the loop, read by a publisher thread; both only briefly hold the lock."""

    def __init__(self, session: Session, clock: Callable[[], float] = time.monotonic) -> None:
        self._session = session
        self._clock = clock
        self._began = clock()
        self._lock = threading.Lock()
        self._latest: list[Result | None] = [None] * len(session.cameras)
        self._state = ["connecting"] * len(session.cameras)
        self._up = [False] * len(session.cameras)
        self._reconnects = 0
        self._dropped: Counter[str] = Counter()
        self._health: Health | None = None
        self._frames = 0
        self._tick_frames = 0
        self._tick_latency = 0.0
        self._tick_age = 0.0
        self._tick_at = self._began
        self._history: deque[tuple[float, float, float]] = deque(maxlen=_HISTORY)
        self._finished = False

    def result(self, result: Result) -> None:
        with self._lock:
            self._latest[result.camera] = result
            self._frames += 1
            self._tick_frames += 1
            # The worst of a tick: an average would hide the spikes that a person looks for.
            self._tick_latency = max(self._tick_latency, result.latency_ms.total)
            self._tick_age = max(self._tick_age, result.frame_age_ms)

    def event(self, event: Event) -> None:
        with self._lock:
            if isinstance(event, Dropped):
                self._dropped[event.reason] += event.count
            elif isinstance(event, Health):
                self._health = event
            elif isinstance(event, SourceUp):
                self._up[event.camera] = True
                self._state[event.camera] = event.obtained
                self._reconnects += event.reconnected
            elif isinstance(event, SourceDown):
                self._up[event.camera] = False
                self._state[event.camera] = event.reason

    def finish(self) -> None:
        with self._lock:
            self._finished = True

    def tick(self) -> bytes:
        """Closes a tick; the state after it as JSON, with that tick's point."""
        with self._lock:
            now = self._clock()
            elapsed = max(1e-3, now - self._tick_at)
            fps = self._tick_frames / elapsed
            point = (round(self._tick_latency, 2), round(self._tick_age, 1), round(fps, 1))
            self._history.append(point)
            self._tick_frames, self._tick_latency, self._tick_age, self._tick_at = 0, 0.0, 0.0, now
            state = {"point": point, **self._now(now)}
        return json.dumps(state, ensure_ascii=False).encode()

    def card(self) -> bytes:
        """What a page that has just opened wants: the model, the cameras, and the last minute."""
        session = self._session
        with self._lock:
            card = {
                "cameras": session.cameras,
                "model": {
                    **session.model,
                    "engine": f"{session.engine} {session.engine_version}",
                    "threads": str(session.threads),
                    "bundle": session.bundle,
                    "sha256": session.bundle_sha256[:12],
                },
                "history": list(self._history),
                **self._now(self._clock()),
            }
        return json.dumps(card, ensure_ascii=False).encode()

    def _now(self, now: float) -> dict[str, Any]:
        recent = list(self._history)[-8:]
        health = self._health
        return {
            "frames": self._frames,
            "seconds": round(now - self._began, 1),
            "fps": round(sum(point[2] for point in recent) / len(recent), 1) if recent else 0.0,
            "dropped": dict(sorted(self._dropped.items())),
            "reconnects": self._reconnects,
            "finished": self._finished,
            "health": None if health is None else _health(health),
            "sources": [
                {"up": up, "state": state, **_answer(latest)}
                for up, state, latest in zip(self._up, self._state, self._latest, strict=True)
            ],
        }


def _answer(result: Result | None) -> dict[str, Any]:
    if result is None:
        return {"label": None, "top": [], "latency_ms": None, "frame_age_ms": None}
    return {
        "label": result.label,
        "top": [[prediction.label, round(prediction.score, 4)] for prediction in result.top],
        "latency_ms": result.latency_ms.to_dict(),
        "frame_age_ms": round(result.frame_age_ms, 1),
    }


def _health(health: Health) -> dict[str, Any]:
    return {
        "temperature_c": health.temperature_c,
        "throttled": health.throttled,
        "reasons": health.throttle_reasons,
        "cpu_percent": health.cpu_percent,
        "memory_used": health.memory_used_bytes,
        "memory_total": health.memory_total_bytes,
        "rss": health.rss_bytes,
    }
