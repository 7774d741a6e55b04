"""``golden.npz``: real inputs and the answers that they must get, so that a device can be checked before it goes live.

Arrays in the file::

    inputs                          uint8 [n, H, W, 3] RGB, after preprocessing: exactly what the engine is fed
    labels                          int32 [n], the true class, -1 where it is not known
    reference                       float32 [n, classes], the float graph's scores (absent where it was not run)
    expected.<engine>.<family>      the raw output [n, classes] (uint8, int8 or float32) of that engine on that
                                    instruction-set family, e.g. expected.litert.x86_64; the family "fixed-point" is
                                    LiteRT with the kernels that builds without XNNPACK use, 32-bit ARM's among them
"""

from __future__ import annotations

import io
import math
import platform
import zipfile
import zlib
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import BundleError

NAME = "golden.npz"
FIXED_POINT = "fixed-point"

# The first date that a zip archive can hold; any fixed date would do.
_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Expected:
    """One engine's raw answers ``[n, classes]`` to the goldens, on one instruction-set family."""

    engine: str  # "litert" | "onnxruntime" | "tflite-runtime"
    family: str  # see isa_family
    raw: NDArray[Any]

    @property
    def key(self) -> str:
        return f"expected.{self.engine}.{self.family}"


@dataclass(frozen=True, slots=True)
class Golden:
    """The goldens of a bundle; see this module's docstring for shapes and dtypes."""

    inputs: NDArray[np.uint8]
    labels: NDArray[np.int32]
    expected: tuple[Expected, ...]
    reference: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return int(self.inputs.shape[0])

    def of(self, *engines: str) -> tuple[Expected, ...]:
        """The recorded answers of these engines, in the order of recording."""
        return tuple(item for item in self.expected if item.engine in engines)

    def recording(self, *more: Expected) -> Golden:
        """These goldens with further answers; one that is already there for the same engine and family is replaced."""
        merged = {item.key: item for item in (*self.expected, *more)}
        return replace(self, expected=tuple(merged.values()))


def isa_family(machine: str | None = None, features: frozenset[str] | None = None) -> str:
    """The family of kernels that an engine picks: ``aarch64[+dotprod]``, ``armv7l``, ``x86_64[+vnni]``.

    Integer kernels with and without dot-product instructions round, and on x86 even saturate, differently.

    Args:
        machine: as ``uname -m`` says; None asks this machine.
        features: the Linux kernel's names of what the CPU can do; None reads ``/proc/cpuinfo``.
    """
    machine = (machine or platform.machine()).lower()
    machine = {"amd64": "x86_64", "arm64": "aarch64", "armv8l": "armv7l"}.get(machine, machine)
    features = _cpu_features() if features is None else features
    if machine == "aarch64" and "asimddp" in features:
        return "aarch64+dotprod"
    if machine == "x86_64" and features & {"avx512_vnni", "avx_vnni"}:
        return "x86_64+vnni"
    return machine


def _cpu_features() -> frozenset[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as text:  # noqa: PTH123
            for line in text:
                if line.startswith(("Features", "flags")):  # ARM, x86
                    return frozenset(line.partition(":")[2].split())
    except OSError:
        pass
    return frozenset()


def choose(scores: NDArray[np.float32], labels: NDArray[np.integer[Any]], count: int = 32) -> NDArray[np.intp]:
    """Which images become goldens: indices, ascending, of at most ``count`` images that cover classes and margins.

    Classes take turns; within a class (its true label, or the float model's answer where there is none) the image with
    the median margin comes first, then the narrowest and the widest, then the gaps between. The margin is the float
    model's lead of its best class over the second: the narrow ones are where a rounding difference can flip the answer,
    the wide ones prove that nothing else went wrong. With more classes than ``count``, classes at even steps of their
    own median margin are taken.

    Args:
        scores: the float graph's output, float32 [n, classes].
        labels: the true classes, [n], -1 where unknown.
    """
    top_two = np.sort(scores, axis=1)[:, -2:]
    margins = top_two[:, -1] - top_two[:, 0]
    groups = np.where(labels >= 0, labels, scores.argmax(axis=1))
    queues = []
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        queues.append(_spread(members[np.argsort(margins[members], kind="stable")]))
    queues.sort(key=lambda queue: float(margins[queue[0]]))
    if len(queues) > count:
        steps = np.linspace(0, len(queues) - 1, count).round().astype(int)
        queues = [queues[step] for step in steps]
    chosen: list[int] = []
    for turn in range(max((len(queue) for queue in queues), default=0)):
        chosen += [queue[turn] for queue in queues if turn < len(queue)]
    return np.sort(np.array(chosen[:count], np.intp))


def _spread(ordered: NDArray[np.intp]) -> list[int]:
    """The same items: middle, first, last, then always the middle of the widest gap that is left."""
    last = len(ordered) - 1
    places = list(dict.fromkeys((last // 2, 0, last)))
    while len(places) <= last:
        taken = sorted(places)
        gap, start = max((after - before, -before) for before, after in pairwise(taken))
        places.append(-start + gap // 2)
    return [int(ordered[place]) for place in places]


def to_bytes(golden: Golden) -> bytes:
    """The content of ``golden.npz``; the same goldens always give the same bytes."""
    arrays: dict[str, NDArray[Any]] = {"inputs": golden.inputs, "labels": golden.labels}
    if golden.reference is not None:
        arrays["reference"] = golden.reference
    arrays.update((item.key, item.raw) for item in golden.expected)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", _DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, member.getvalue())
    return out.getvalue()


def from_bytes(content: bytes, where: str, count: int | None = None) -> Golden:
    """Reads ``golden.npz``, or the first ``count`` of its goldens; ``where`` names it in errors.

    Raises:
        BundleError: not an .npz archive, or one whose arrays do not fit together.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            arrays = {info.filename.removesuffix(".npy"): _read_array(archive, info, count) for info in members}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise BundleError(f"{where}: is not a file of goldens: {error}", hint="build the bundle again") from None
    if "inputs" not in arrays or "labels" not in arrays:
        raise BundleError(f"{where}: holds no inputs and labels", hint="build the bundle again")
    inputs, n = arrays["inputs"], len(arrays["inputs"])
    expected = []
    for name, array in arrays.items():
        if name.startswith("expected."):
            engine, _, family = name.removeprefix("expected.").partition(".")
            expected.append(Expected(engine, family, array))
    if inputs.dtype != np.uint8 or inputs.ndim != 4 or inputs.shape[3] != 3:
        raise BundleError(f"{where}: inputs are {inputs.dtype}{list(inputs.shape)}, not uint8 [n, H, W, 3]")
    if any(len(array) != n for array in arrays.values()):
        raise BundleError(f"{where}: holds {n} inputs and another number of answers", hint="build the bundle again")
    return Golden(inputs, arrays["labels"].astype(np.int32), tuple(expected), arrays.get("reference"))


def _read_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, count: int | None) -> NDArray[Any]:
    """One member, or the first ``count`` entries of its first axis: decompression stops there."""
    with archive.open(info) as stream:
        np.lib.format.read_magic(stream)
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        if dtype.hasobject or fortran or not shape:
            raise ValueError(f"{info.filename} is no plain array")
        n = shape[0] if count is None else min(count, shape[0])
        size = n * math.prod(shape[1:]) * dtype.itemsize
        data = stream.read(size)
    if len(data) != size:
        raise ValueError(f"{info.filename} is cut short")
    return np.frombuffer(data, dtype).reshape(n, *shape[1:])
