"""Broken and hostile state dicts: a clear error, never code, never a crash, bounded memory and time."""

from __future__ import annotations

import io
import os
import pickle
import resource
import sys
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import small
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit import checkpoints
from edgekit.checkpoints.pickle_machine import Machine
from edgekit.checkpoints.pickle_values import Budget, Values
from edgekit.checkpoints.storages import Storage, TensorRef
from edgekit.errors import CheckpointError

STATE = small.state_dict()
FILES: dict[str, bytes] = {
    "zip": small.zipped(STATE),
    "legacy": small.legacy({"state_dict": STATE, "epoch": 3}),
    "pickle": small.paddle(STATE),
    "safetensors": small.safetensors(STATE),
}
fuzzed = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


def refused(path: Path, content: bytes) -> CheckpointError:
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as raised:
        checkpoints.load(path)
    assert raised.value.message.startswith(str(path))
    assert raised.value.exit_code == 2
    return raised.value


@pytest.mark.parametrize("kind", FILES)
def test_the_small_files_load(tmp_path: Path, kind: str) -> None:
    (tmp_path / "w").write_bytes(FILES[kind])
    checkpoint = checkpoints.load(tmp_path / "w")
    assert checkpoint.architecture == small.ARCHITECTURE
    assert all(torch.equal(checkpoint.weights[name], value) for name, value in STATE.items())


@pytest.mark.parametrize("kind", FILES)
@fuzzed
@given(data=st.data())
def test_truncated_at_any_byte(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    content = FILES[kind]
    refused(tmp_path / "w", content[: data.draw(st.integers(0, len(content) - 1))])


@pytest.mark.parametrize("kind", FILES)
@fuzzed
@given(data=st.data())
def test_damaged_bytes_load_or_are_refused(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    content = bytearray(FILES[kind])
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "w").write_bytes(content)
    try:
        checkpoint = checkpoints.load(tmp_path / "w")
    except CheckpointError:
        return
    assert checkpoint.architecture is not None


@pytest.mark.parametrize(
    "start", [b"", b"PK\x03\x04", b"\x80\x02", b"\x80\x04\x95", b"\x08\x07", b"(", b"\x10" + bytes(7) + b"{"]
)
@fuzzed
@given(rest=st.binary(max_size=300))
def test_any_bytes(tmp_path: Path, start: bytes, rest: bytes) -> None:
    refused(tmp_path / "w", start + rest)


# -- code ------------------------------------------------------------


class Runs:
    """Pickles to a call; unpickling it the usual way would make the file ``mark``."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def hostile(mark: Path) -> dict[str, Any]:
    import subprocess

    touch = f"touch {mark}"
    return {
        "os.system": Runs(os.system, touch),
        "subprocess.Popen": Runs(subprocess.Popen, ["touch", str(mark)]),
        "builtins.eval": Runs(eval, f"open({str(mark)!r}, 'w')"),
        "builtins.exec": Runs(exec, f"open({str(mark)!r}, 'w')"),
        "builtins.getattr": Runs(getattr, "text", "upper"),
        "torch.load": Runs(torch.load, str(mark)),
        "builtins.__import__": Runs(__import__, "os"),
        "io.open": Runs(open, str(mark), "w"),
    }


@pytest.mark.parametrize(
    "what",
    [
        "os.system",
        "subprocess.Popen",
        "builtins.eval",
        "builtins.exec",
        "builtins.getattr",
        "torch.load",
        "builtins.__import__",
        "io.open",
    ],
)
@pytest.mark.parametrize(
    "write",
    [
        small.zipped,
        small.legacy,
        *[
            lambda saved, p=p: pickle.dumps(
                {k: v.numpy() if isinstance(v, torch.Tensor) else v for k, v in saved.items()}, p
            )
            for p in range(6)
        ],
    ],
)
def test_code_is_named_and_not_run(tmp_path: Path, what: str, write: Callable[[Any], bytes]) -> None:
    mark = tmp_path / "ran"
    saved = {**STATE, "x": hostile(mark)[what]}
    error = refused(tmp_path / "w", write(saved))
    assert "refused" in error.message
    assert "nothing was run" in error.message
    assert not mark.exists()


@pytest.mark.parametrize(
    "opcode", [b"ios\nsystem\n", b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00", b"o", b"\x97", b"\x98"]
)
def test_forbidden_opcodes(tmp_path: Path, opcode: bytes) -> None:
    assert "opcode" in refused(tmp_path / "w", b"\x80\x04(" + opcode + b".").message


def test_a_codec_is_code_too(tmp_path: Path) -> None:
    import codecs

    error = refused(tmp_path / "w", pickle.dumps(Runs(codecs.encode, "a", "rot13"), 2))
    assert "rot13" in error.message


def test_no_module_is_imported_for_a_class_of_no_interest(tmp_path: Path) -> None:
    content = b"\x80\x02}(X\x01\x00\x00\x00acmmengine.nowhere\nThing\n)\x81}b" + b"u."
    machine = Machine(content, Values(len(content)).globals())
    assert repr(machine.run()["a"]) == "<mmengine.nowhere.Thing>"
    assert "mmengine" not in sys.modules


# -- bombs ------------------------------------------------------------


def bounded(path: Path, content: bytes, limit_mb: int = 300) -> CheckpointError:
    """Refused within seconds of computing and ``limit_mb`` of memory more than the process ever had."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    error = refused(path, content)
    assert time.process_time() - start < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < limit_mb << 10
    return error


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04r\xff\xff\xff\x7f.",  # a memo index of 2 billion, with nothing to store
        b"\x80\x04Nr\xff\xff\xff\x7f.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # bytes of 2^63
        b"\x80\x04\x8d\x00\x00\x00\x00\x02\x00\x00\x00.",
        b"\x80\x04\x8b\xff\xff\xff\x7f.",  # an integer of 2 GB
        b"I" + b"9" * 1_000_000 + b"\n.",  # an integer whose conversion is quadratic
        b"\x80\x02" + b"N\x85" + b"\x85" * 900_000 + b".",  # a tuple nested 900,000 deep
        b"\x80\x02}N" + b"\x85" * 200_000 + b"Ns.",  # the same as a key, whose hash would overflow the stack
        b"\x80\x02" + b"N0" * 3_000_000 + b"N.",  # more operations than any checkpoint has
        b"\x80\x02X\x00\x00\x01\x00" + b"a" * 65536 + b"q\x00" + b"0c_codecs\nencode\nq\x01h\x00\x85R" * 50 + b".",
        b"\x80\x02X\x00\x00\x01\x00" + b"a" * 65536 + b"q\x000" + b"c_codecs\nencode\nh\x00\x85R" * 20_000 + b".",
        b"\x80\x02](" + b"K\x01" * 50_000 + b"eq\x000" + b"c__builtin__\ntuple\nh\x00\x85R" * 20_000 + b".",
    ],
)
def test_pickle_bombs(tmp_path: Path, content: bytes) -> None:
    bounded(tmp_path / "w", content)


def test_zip_bomb(tmp_path: Path) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a/data.pkl", b"\x80\x02}.")
        made.writestr("a/data/0", bytes(400 << 20))
    assert "unpack" in bounded(tmp_path / "w", target.getvalue()).message


def test_zip_of_endless_entries(tmp_path: Path) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as made:
        for number in range(21_000):
            made.writestr(str(number), b"")
    assert "entries" in refused(tmp_path / "w", target.getvalue()).message


def test_a_tensor_larger_than_its_storage(tmp_path: Path) -> None:
    huge = torch.ones(1).expand(1 << 20, 1 << 20)  # 4 bytes in the file, 4 TB in memory
    for content in (small.zipped({**STATE, "fc.weight": huge}), small.legacy({**STATE, "fc.weight": huge})):
        assert "elements" in bounded(tmp_path / "w", content).message


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((-1, 4), (1, 1), 0),
        ((2, 2), (4, 1), 3),
        ((2, 2), (1 << 40, 1), 0),
        ((2,), (1,), -1),
        ((2,), (1, 1), 0),
        ((2,) * 70, (0,) * 70, 0),
    ],
)
def test_views_that_leave_their_storage(shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> None:
    storage = Storage(torch.float32, 6, lambda: bytes(24))
    with pytest.raises(CheckpointError, match="broken tensor"):
        TensorRef(storage, offset, shape, strides, Budget(1000)).load()


# -- what a person gets wrong ------------------------------------------------------------


def changed(**changes: torch.Tensor | None) -> dict[str, torch.Tensor]:
    state: dict[str, Any] = {**STATE, **{name.replace("__", "."): value for name, value in changes.items()}}
    return {name: value for name, value in state.items() if value is not None}


@pytest.mark.parametrize(
    "name",
    [
        "conv1.0.weight",
        "conv1.1.bias",
        "stage2.0.branch1.2.weight",
        "stage2.1.branch2.3.weight",
        "stage3.0.branch2.0.weight",
        "stage4.0.branch2.6.running_var",
        "conv5.0.weight",
        "fc.weight",
    ],
)
def test_a_missing_tensor_is_named(tmp_path: Path, name: str) -> None:
    state = {key: value for key, value in STATE.items() if key != name}
    message = refused(tmp_path / "w", small.zipped(state)).message
    assert "missing" in message
    assert repr(name) in message


def test_a_unit_missing_in_between_is_missing(tmp_path: Path) -> None:
    state = {key: value for key, value in STATE.items() if not key.startswith("stage2.0.")}
    assert "stage2.0." in refused(tmp_path / "w", small.zipped(state)).message


def test_an_extra_tensor_is_named(tmp_path: Path) -> None:
    message = refused(tmp_path / "w", small.zipped({**STATE, "stage2.0.se.fc.weight": torch.ones(4)})).message
    assert "'stage2.0.se.fc.weight'" in message


@pytest.mark.parametrize(
    "name", ["conv1.1.weight", "stage2.1.branch2.0.weight", "conv5.0.weight", "fc.weight", "fc.bias"]
)
def test_shapes_that_disagree_are_named(tmp_path: Path, name: str) -> None:
    state = {**STATE, name: torch.ones(*(size + 1 for size in STATE[name].shape))}
    message = refused(tmp_path / "w", small.zipped(state)).message
    assert "shape" in message or "missing" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_is_named(tmp_path: Path, value: float) -> None:
    spoiled = STATE["conv5.1.bias"].clone()
    spoiled[2] = value
    message = refused(tmp_path / "w", small.zipped(changed(conv5__1__bias=spoiled))).message
    assert "'conv5.1.bias' holds NaN" in message


def test_negative_variance_is_named(tmp_path: Path) -> None:
    message = refused(tmp_path / "w", small.zipped(changed(conv5__1__running_var=-torch.ones(5)))).message
    assert "negative" in message


@pytest.mark.parametrize(
    ("saved", "says"),
    [
        ({"layer1.0.conv1.weight": torch.ones(4, 4, 1, 1), "fc.weight": torch.ones(3, 4)}, "not a ShuffleNet"),
        (torch.ones(3), "no state dict"),
        ({"state_dict": {}}, "no state dict"),
        ([1, 2, 3], "no state dict"),
        ({name: value.to(torch.int32) for name, value in STATE.items()}, "floating point"),
    ],
)
def test_other_contents(tmp_path: Path, saved: Any, says: str) -> None:
    assert says in refused(tmp_path / "w", small.zipped(saved)).message
    assert says in refused(tmp_path / "w", small.legacy(saved)).message


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\x1c\x00\x00\x00TFL3", "TFLite"),
        (b"\xff\xd8\xff\xe0", "not a checkpoint"),
    ],
)
def test_mistakes_are_called_by_name(tmp_path: Path, content: bytes, says: str) -> None:
    assert says in refused(tmp_path / "w", content).message


def test_files_that_are_none(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.pth", tmp_path, Path("/dev/zero")):
        with pytest.raises(CheckpointError):
            checkpoints.load(path)


def test_too_large(tmp_path: Path) -> None:
    with (tmp_path / "w").open("wb") as file:
        file.truncate(1 << 30)  # sparse: takes no space
    with pytest.raises(CheckpointError, match="more than any"):
        checkpoints.load(tmp_path / "w")


def test_quantized_and_scripted_files_say_what_to_do(tmp_path: Path) -> None:
    quantized = torch.quantize_per_tensor(STATE["fc.weight"], 0.1, 0, torch.qint8)
    assert "quantized" in refused(tmp_path / "w", small.zipped({**STATE, "fc.weight": quantized})).message
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), file)
    assert "TorchScript" in refused(tmp_path / "w", file.getvalue()).message


def test_what_training_scripts_leave_beside_the_weights(tmp_path: Path) -> None:
    import argparse
    import datetime

    import numpy as np

    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([parameter], 0.1, momentum=0.9)
    parameter.sum().backward()
    optimizer.step()
    saved = {
        "epoch": np.int64(3),
        "best": np.float64(0.5),
        "args": argparse.Namespace(lr=0.1),
        "time": datetime.datetime.now(),
        "path": tmp_path,
        "optimizer": optimizer.state_dict(),
        "history": OrderedDict(a=[1, 2]),
        "device": torch.device("cpu"),
        "class_names": ["a", "b", "c"],
        "state_dict": {f"module._orig_mod.{name}": value for name, value in STATE.items()},
    }
    for content in (small.zipped(saved), small.legacy(saved)):
        (tmp_path / "w").write_bytes(content)
        checkpoint = checkpoints.load(tmp_path / "w")
        assert checkpoint.labels == ("a", "b", "c")
        assert torch.equal(checkpoint.weights["fc.weight"], STATE["fc.weight"])


def test_a_classifier_behind_dropout(tmp_path: Path) -> None:
    state = {name.replace("fc.", "fc.1."): value for name, value in STATE.items()}
    (tmp_path / "w").write_bytes(small.zipped(state))
    assert torch.equal(checkpoints.load(tmp_path / "w").weights["fc.bias"], STATE["fc.bias"])
    two = {**state, "fc.4.weight": torch.ones(3, 3), "fc.4.bias": torch.ones(3)}
    assert "fc" in refused(tmp_path / "w", small.zipped(two)).message


def test_inputs_that_contradict_the_convention_are_noted(tmp_path: Path) -> None:
    """A stem with the statistics that pixels of 0–1 leave behind, in torchvision's naming."""
    sums = STATE["conv1.0.weight"].double().sum((2, 3))
    mean = (sums @ torch.tensor([0.48, 0.46, 0.41], dtype=torch.float64)).float()
    state = {**STATE, "conv1.1.running_mean": mean, "conv1.1.running_var": 0.05 * (sums**2).sum(1).float()}
    (tmp_path / "w").write_bytes(small.zipped(state))
    checkpoint = checkpoints.load(tmp_path / "w")
    assert any("pixels of 0–1, but torchvision's convention" in note for note in checkpoint.notes)
    assert checkpoint.normalization.mean[0] == pytest.approx(123.675)


def module_of(state: dict[str, torch.Tensor]) -> torch.nn.Module:
    """A tree of modules with these parameters, of a class that no reader has."""
    root = torch.nn.Sequential()
    for name, value in state.items():
        *path, last = name.split(".")
        at: torch.nn.Module = root
        for part in path:
            if part not in dict(at.named_children()):
                at.add_module(part, torch.nn.Sequential())
            at = at.get_submodule(part)
        if "running" in last:
            at.register_buffer(last, value)
        else:
            at.register_parameter(last, torch.nn.Parameter(value))
    return root


@pytest.mark.parametrize("wrap", [lambda module: module, lambda module: {"model": module, "epoch": 1}])
def test_a_whole_pickled_network_gives_its_weights(tmp_path: Path, wrap: Callable[[Any], Any]) -> None:
    for content in (small.zipped(wrap(module_of(STATE))), small.legacy(wrap(module_of(STATE)))):
        (tmp_path / "w").write_bytes(content)
        weights = checkpoints.load(tmp_path / "w").weights
        assert all(torch.equal(weights[name], value) for name, value in STATE.items())


def test_a_pickled_network_of_endless_modules(tmp_path: Path) -> None:
    module = torch.nn.Sequential()
    for _ in range(40):  # each holds the last one twice: 2^40 names
        module = torch.nn.Sequential(module, module)
    assert "endless" in bounded(tmp_path / "w", small.zipped({"model": module})).message


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    (tmp_path / "w").write_bytes(small.zipped({name: value.to(dtype) for name, value in STATE.items()}))
    weights = checkpoints.load(tmp_path / "w").weights
    assert all(torch.equal(weights[name], value.to(dtype).float()) for name, value in STATE.items())


def test_views_of_one_storage(tmp_path: Path) -> None:
    """Flattened parameters share a storage; strides and offsets are followed."""
    flat = torch.cat([value.flatten() for value in STATE.values()])
    parts = torch.split(flat, [value.numel() for value in STATE.values()])
    state = {name: part.view(value.shape) for (name, value), part in zip(STATE.items(), parts, strict=True)}
    state["fc.weight"] = STATE["fc.weight"].t().contiguous().t()
    for content in (small.zipped(state), small.legacy(state)):
        (tmp_path / "w").write_bytes(content)
        weights = checkpoints.load(tmp_path / "w").weights
        assert all(torch.equal(weights[name], value) for name, value in STATE.items())
