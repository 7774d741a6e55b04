"""Several models over the same pictures, one pass, constant memory: hits, agreement, score noise, changed answers."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgekit.engines.protocol import Engine, Images
from edgekit.errors import CalibrationError, ImageError
from edgekit.evaluate.pictures import Picture
from edgekit.evaluate.statistics import SignalToNoise, ranks

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]

# More unreadable files than this share mean that the folder is not what its owner thinks it is.
MOST_UNREADABLE = 0.1
# Enough points for a scatter plot; a report that holds more draws slowly and shows no more.
_SCATTER_POINTS = 2500
_DECODERS = 2
_READ_AHEAD = 8


class LoadPicture(Protocol):
    """Reads one file into the model's input."""

    def __call__(self, path: Path) -> Images:
        """uint8 ``[H, W, 3]`` RGB.

        Raises:
            ImageError: the file cannot be used.
        """
        ...


@dataclass(frozen=True)
class Answers:
    """What every model said of every picture, for a report; everything in the order of ``paths``.

    ``truth`` is int64 ``[n]``, −1 where nothing is known. ``top1`` holds one int64 ``[n]`` per model. ``scatter`` holds
    float32 ``[points, 2]`` per model beside the reference: (reference score, own score), an even sample.
    """

    paths: tuple[Path, ...]
    truth: NDArray[np.int64]
    top1: Mapping[str, NDArray[np.int64]]
    scatter: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Outputs:
    """How alike two models' output integers are: ``equal`` of ``total`` are the same, ``largest`` steps is the most."""

    equal: int
    total: int
    largest: int


@dataclass(frozen=True)
class Comparison:
    """Counts over ``n`` pictures. Every mapping is keyed by model name, or by a pair (reference, other).

    ``top1`` and ``top5`` are hits (absent without labels); ``lost`` pictures only the pair's first model gets right,
    ``gained`` only its second; ``agree`` both answer alike. ``sqnr_db`` compares scores, inf where they are equal;
    ``outputs`` raw integers, where both models give those.
    """

    n: int
    unreadable: tuple[str, ...]
    answers: Answers
    top1: Mapping[str, int] = field(default_factory=dict)
    top5: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[tuple[str, str], int] = field(default_factory=dict)
    gained: Mapping[tuple[str, str], int] = field(default_factory=dict)
    agree: Mapping[tuple[str, str], int] = field(default_factory=dict)
    sqnr_db: Mapping[tuple[str, str], float] = field(default_factory=dict)
    outputs: Mapping[tuple[str, str], Outputs] = field(default_factory=dict)


def compare(
    models: Mapping[str, Engine],
    pictures: Sequence[Picture],
    load: LoadPicture,
    *,
    labelled: bool = True,
    progress: Progress | None = None,
) -> Comparison:
    """Runs every model on every picture.

    Args:
        models: name → engine, all with the same input size and class count; the first one is the reference of the rest.
        pictures: files and their classes; the classes are ignored where ``labelled`` is False.
        load: reads and preprocesses one file; called from other threads, a few files ahead.
        progress: called with (pictures done, pictures in all).

    Raises:
        CalibrationError: no picture at all, or more than a tenth of them (and more than one) unreadable.
        EngineError: a runtime failed.
    """
    tally = _Tally(list(models), len(pictures))
    for done, (picture, pixels) in enumerate(_read_ahead(pictures, load), start=1):
        if isinstance(pixels, ImageError):
            tally.unreadable.append(str(picture.path))
            log.warning("skipped: %s", pixels)
        else:
            raw = {name: _answer(engine, pixels) for name, engine in models.items()}
            scores = {name: engine.scores(raw[name]) for name, engine in models.items()}
            tally.add(picture, scores, labelled=labelled)
            tally.add_integers({name: levels for name, own in raw.items() if (levels := _levels(own)) is not None})
        if progress is not None:
            progress(done, len(pictures))
    _refuse_broken(tally.unreadable, len(pictures))
    return tally.result(labelled=labelled)


def _answer(engine: Engine, pixels: Images) -> NDArray[Any]:
    engine.input[0] = pixels
    return engine.invoke()


def _levels(raw: NDArray[Any]) -> NDArray[np.int64] | None:
    """Output integers as 0–255, whether a format calls them uint8 or int8; None for float scores."""
    if not np.issubdtype(raw.dtype, np.integer):
        return None
    return raw.astype(np.int64) + (128 if raw.dtype == np.int8 else 0)


def _read_ahead(pictures: Sequence[Picture], load: LoadPicture) -> Iterator[tuple[Picture, Images | ImageError]]:
    """Decodes a few pictures ahead of the models: OpenCV and the runtimes both let go of Python's lock."""

    def read(picture: Picture) -> Images | ImageError:
        try:
            return load(picture.path)
        except ImageError as error:
            return error

    with ThreadPoolExecutor(_DECODERS, thread_name_prefix="decode") as pool:
        waiting = iter(pictures)
        queue: list[tuple[Picture, Future[Images | ImageError]]] = []
        try:
            for picture in itertools.islice(waiting, _READ_AHEAD):
                queue.append((picture, pool.submit(read, picture)))
            while queue:
                picture, future = queue.pop(0)
                for following in itertools.islice(waiting, 1):
                    queue.append((following, pool.submit(read, following)))
                yield picture, future.result()
        finally:
            for _, future in queue:
                future.cancel()


def _refuse_broken(unreadable: list[str], n: int) -> None:
    if n == 0:
        raise CalibrationError("no pictures to compare models on", hint="a folder with .jpg or .png files")
    if len(unreadable) == n or (len(unreadable) > 1 and len(unreadable) > MOST_UNREADABLE * n):
        shown = ", ".join(unreadable[:3])
        raise CalibrationError(
            f"{len(unreadable)} of {n} pictures cannot be read, beginning with {shown}",
            hint="remove or replace the broken files; up to a tenth is skipped and counted",
        )


class _Tally:
    """The running counts; see :class:`Comparison` for what they mean."""

    def __init__(self, names: list[str], expected: int) -> None:
        self.names = names
        self.pairs = list(itertools.combinations(names, 2))
        self.unreadable: list[str] = []
        self._paths: list[Path] = []
        self._truth: list[int] = []
        self._answers: dict[str, list[int]] = {name: [] for name in names}
        self._top1 = dict.fromkeys(names, 0)
        self._top5 = dict.fromkeys(names, 0)
        self._lost = dict.fromkeys(self.pairs, 0)
        self._gained = dict.fromkeys(self.pairs, 0)
        self._agree = dict.fromkeys(self.pairs, 0)
        self._noise = {pair: SignalToNoise() for pair in self.pairs}
        self._outputs: dict[tuple[str, str], Outputs] = {}
        self._points: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names[1:]}
        self._expected = max(1, expected)

    def add(self, picture: Picture, scores: Mapping[str, NDArray[np.float32]], *, labelled: bool) -> None:
        """One picture's scores, each float32 ``[1, classes]``."""
        self._paths.append(picture.path)
        self._truth.append(picture.label if labelled else -1)
        for name, own in scores.items():
            self._answers[name].append(int(np.argmax(own[0])))
        if labelled:
            self._count_hits(picture.label, scores)
        for a, b in self.pairs:
            self._agree[a, b] += self._answers[a][-1] == self._answers[b][-1]
            self._noise[a, b].add(scores[a], scores[b])
        self._sample(scores)

    def add_integers(self, levels: Mapping[str, NDArray[np.int64]]) -> None:
        """One picture's output integers ``[1, classes]``, of the models that give any."""
        for a, b in self.pairs:
            if a in levels and b in levels:
                apart = np.abs(levels[a] - levels[b])
                before = self._outputs.get((a, b), Outputs(0, 0, 0))
                self._outputs[a, b] = Outputs(
                    before.equal + int((apart == 0).sum()),
                    before.total + apart.size,
                    max(before.largest, int(apart.max(initial=0))),
                )

    def _count_hits(self, label: int, scores: Mapping[str, NDArray[np.float32]]) -> None:
        truth = np.array([label], np.int64)
        rank = {name: int(ranks(own, truth)[0]) for name, own in scores.items()}
        for name in self.names:
            self._top1[name] += rank[name] == 0
            self._top5[name] += rank[name] < 5
        for a, b in self.pairs:
            self._lost[a, b] += rank[a] == 0 and rank[b] != 0
            self._gained[a, b] += rank[a] != 0 and rank[b] == 0

    def _sample(self, scores: Mapping[str, NDArray[np.float32]]) -> None:
        reference = scores[self.names[0]][0]
        total = self._expected * reference.size
        step = max(1, total // _SCATTER_POINTS)
        # A running offset, so that a step larger than the class count still meets every class in turn.
        first = -((len(self._paths) - 1) * reference.size) % step
        chosen = np.arange(first, reference.size, step)
        for name in self.names[1:]:
            self._points[name].append(np.stack([reference[chosen], scores[name][0][chosen]], axis=1))

    def result(self, *, labelled: bool) -> Comparison:
        answers = Answers(
            tuple(self._paths),
            np.array(self._truth, np.int64),
            {name: np.array(own, np.int64) for name, own in self._answers.items()},
            {name: np.concatenate(points) for name, points in self._points.items()},
        )
        return Comparison(
            n=len(self._paths),
            unreadable=tuple(self.unreadable),
            answers=answers,
            top1=self._top1 if labelled else {},
            top5=self._top5 if labelled else {},
            lost=self._lost if labelled else {},
            gained=self._gained if labelled else {},
            agree=self._agree,
            sqnr_db={pair: noise.db for pair, noise in self._noise.items()},
            outputs=self._outputs,
        )
