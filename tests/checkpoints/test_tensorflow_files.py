"""TensorFlow checkpoints, written here by the format's description, whole and broken."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from framework_answers import tensor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit import checkpoints
from edgekit.checkpoints.content import TABLE_MAGIC
from edgekit.checkpoints.crc32c import crc32c, masked
from edgekit.errors import CheckpointError

UNITS = {2: 2, 3: 2, 4: 1}
WIDTHS = {2: 8, 3: 16, 4: 32}


def bit_by_bit(data: bytes) -> int:
    """CRC-32C as its definition says."""
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


@given(st.binary(max_size=400))
def test_crc32c_is_its_definition(data: bytes) -> None:
    assert crc32c(data) == bit_by_bit(data)


def test_crc32c_check_values() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the catalogue of parametrised CRC algorithms
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    assert crc32c(bytes(range(32))) == 0x46DD794E


# -- a writer ----------------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Prefix-compressed entries, one restart."""
    out, last = b"", b""
    for key, value in entries:
        shared = next((i for i, (a, b) in enumerate(zip(key, last, strict=False)) if a != b), min(len(key), len(last)))
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    return out + struct.pack("<II", 0, 1)


def stored(content: bytes) -> bytes:
    return content + b"\0" + struct.pack("<I", masked(crc32c(content + b"\0")))


def table(entries: list[tuple[bytes, bytes]], per_block: int = 7) -> bytes:
    out, index = b"", []
    for start in range(0, len(entries), per_block):
        some = entries[start : start + per_block]
        content = block(some)
        index.append((some[-1][0], varint(len(out)) + varint(len(content))))
        out += stored(content)
    meta, footer = block([]), b""
    for content in (meta, block(index)):
        footer += varint(len(out)) + varint(len(content))
        out += stored(content)
    return out + footer.ljust(40, b"\0") + TABLE_MAGIC


def entry(array: np.ndarray, offset: int, dtype: int = 1) -> bytes:
    dims = b"".join(b"\x12" + varint(len(d)) + d for d in (b"\x08" + varint(size) for size in array.shape))
    raw = array.tobytes()
    return (b"\x08" + varint(dtype) + b"\x12" + varint(len(dims)) + dims + b"\x20" + varint(offset)
            + b"\x28" + varint(len(raw)) + b"\x35" + struct.pack("<I", masked(crc32c(raw))))  # fmt: skip


def arrays() -> dict[str, np.ndarray]:
    """A small network as the TensorFlow implementation names and lays it out."""
    made: dict[str, np.ndarray] = {}

    def layer(name: str, inputs: int, outputs: int, kernel: int, depthwise: bool = False) -> None:
        key = f"{name}/{'depthwise_weights' if depthwise else 'weights'}"
        made[key] = tensor(key, (kernel, kernel, inputs, 1 if depthwise else outputs))
        for part in ("beta", "gamma", "moving_mean"):
            made[f"{name}/batch_norm/{part}"] = tensor(part + name, (outputs,))
        made[f"{name}/batch_norm/moving_variance"] = tensor(name + "_variance", (outputs,))

    layer("ShuffleNetV2/Conv1", 3, 4, 3)
    inputs = 4
    for stage, units in UNITS.items():
        half = WIDTHS[stage] // 2
        for number in range(1, units + 1):
            unit = f"ShuffleNetV2/Stage{stage}/unit_{number}"
            taken = inputs if number == 1 else half
            layer(f"{unit}/conv1x1_before", taken, taken, 1)
            layer(f"{unit}/depthwise", taken, taken, 3, depthwise=True)
            layer(f"{unit}/conv1x1_after", taken, half, 1)
            if number == 1:
                layer(f"{unit}/second_branch/depthwise", inputs, inputs, 3, depthwise=True)
                layer(f"{unit}/second_branch/conv1x1_after", inputs, half, 1)
        inputs = WIDTHS[stage]
    layer("ShuffleNetV2/Conv5", inputs, 20, 1)
    made["classifier/weights"], made["classifier/biases"] = tensor("cw", (20, 6)), tensor("cb", (6,))
    return made


def write(folder: Path, made: dict[str, np.ndarray]) -> Path:
    slots = {f"{name}/Momentum": value for name, value in made.items()}
    entries, data = [(b"", b"\x08\x01\x1a\x02\x08\x01")], b""
    everything = {**made, **slots, "global_step": np.array(7, np.int64)}
    for name in sorted(everything, key=str.encode):
        entries.append((name.encode(), entry(everything[name], len(data), 9 if name == "global_step" else 1)))
        data += everything[name].tobytes()
    (folder / "m.ckpt-7.index").write_bytes(table(entries))
    (folder / "m.ckpt-7.data-00000-of-00001").write_bytes(data)
    return folder / "m.ckpt-7.index"


def test_reads_what_was_written(tmp_path: Path) -> None:
    made = arrays()
    checkpoint = checkpoints.load(write(tmp_path, made))
    architecture = checkpoint.architecture
    assert architecture is not None
    assert (architecture.stage_channels, architecture.head_channels, architecture.repeats) == (
        (8, 16, 32),
        20,
        (2, 2, 1),
    )
    assert (architecture.padding, architecture.epsilon, architecture.untouched_half) == ("same", 1e-3, "second")
    assert checkpoint.normalization.mean == (127.5, 127.5, 127.5)
    weights = checkpoint.weights
    before = made["ShuffleNetV2/Stage2/unit_2/conv1x1_before/weights"]
    assert torch.equal(weights["stage2.1.branch2.0.weight"], torch.from_numpy(before).permute(3, 2, 0, 1))
    depthwise = made["ShuffleNetV2/Stage3/unit_1/second_branch/depthwise/depthwise_weights"]
    assert torch.equal(weights["stage3.0.branch1.0.weight"], torch.from_numpy(depthwise).permute(2, 3, 0, 1))
    gamma = made["ShuffleNetV2/Conv5/batch_norm/gamma"]
    assert torch.equal(weights["conv5.1.weight"], torch.from_numpy(gamma))
    assert torch.equal(weights["fc.weight"], torch.from_numpy(made["classifier/weights"]).t())


def test_a_missing_tensor_is_named_as_tensorflow_does(tmp_path: Path) -> None:
    made = arrays()
    del made["ShuffleNetV2/Stage3/unit_2/depthwise/batch_norm/beta"]
    with pytest.raises(CheckpointError, match="'ShuffleNetV2/Stage3/unit_2/depthwise/batch_norm/beta'"):
        checkpoints.load(write(tmp_path, made))


def test_a_missing_data_file_is_named(tmp_path: Path) -> None:
    index = write(tmp_path, arrays())
    (tmp_path / "m.ckpt-7.data-00000-of-00001").unlink()
    with pytest.raises(CheckpointError, match=r"m\.ckpt-7\.data-00000-of-00001"):
        checkpoints.load(index)


def test_a_state_file_does_not_lead_elsewhere(tmp_path: Path) -> None:
    write(tmp_path, arrays())
    (tmp_path / "inner").mkdir()
    state = tmp_path / "inner" / "checkpoint"
    state.write_text('model_checkpoint_path: "../m.ckpt-7"\n')
    with pytest.raises(CheckpointError, match="no such file"):
        checkpoints.load(state)
    assert checkpoints.load(tmp_path).path.name == "m.ckpt-7.index"


@pytest.mark.parametrize("which", ["m.ckpt-7.index", "m.ckpt-7.data-00000-of-00001"])
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(data=st.data())
def test_broken_files_are_refused(tmp_path: Path, which: str, data: st.DataObject) -> None:
    for name, whole in small_files(tmp_path).items():
        (tmp_path / name).write_bytes(whole)
    index = tmp_path / "m.ckpt-7.index"
    content = bytearray((tmp_path / which).read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[at:]
    else:
        content[at] ^= data.draw(st.integers(1, 255))
    (tmp_path / which).write_bytes(content)
    try:
        checkpoints.load(index)
    except CheckpointError:
        return
    # What is not read may be damaged: the optimizer's slots, the step, the empty block of the table.
    assert which.startswith("m.ckpt-7")


_FILES: dict[str, bytes] = {}


def small_files(folder: Path) -> dict[str, bytes]:
    if not _FILES:
        write(folder, arrays())
        _FILES.update({path.name: path.read_bytes() for path in folder.glob("m.ckpt-7.*")})
    return _FILES


@pytest.mark.parametrize(
    "spoil",
    [
        lambda e: e.replace(b"\x28", b"\x29", 1),
        lambda e: b"\x08\x01\x12\x00\x20\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x28\x04\x35abcd",  # far outside
        lambda e: b"\x08\x07" + e[2:],  # text
        lambda e: e + b"\x3a\x00",  # a slice of a partitioned variable
        lambda e: b"\xff" * 12,
        lambda e: e[:-2],
        lambda e: b"\x18\x05" + e,  # a shard that is not there
    ],
)
def test_hostile_entries(tmp_path: Path, spoil: object) -> None:
    made = arrays()
    index = write(tmp_path, made)
    name, array = "classifier/biases", made["classifier/biases"]
    content = table([(b"", b"\x08\x01"), (name.encode(), spoil(entry(array, 0)))])  # type: ignore[operator]
    index.write_bytes(content)
    with pytest.raises(CheckpointError):
        checkpoints.load(index)
