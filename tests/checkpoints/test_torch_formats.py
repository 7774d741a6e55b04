"""torch's oldest format, which torch itself can read and no longer write; and the others against torch's own reader."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any

import pytest
import small
import torch

from edgekit import checkpoints
from edgekit.checkpoints import torch_file
from edgekit.errors import CheckpointError

STATE = small.state_dict()


class Reference:
    """Pickled as a persistent id: the key of a tensor."""

    def __init__(self, key: int) -> None:
        self.key = key


class ReferencePickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> str | None:
        return str(value.key) if isinstance(value, Reference) else None


def tarred(state: dict[str, torch.Tensor], wrap: bool = False) -> bytes:
    """The tar format: all numbers in one storage of ``FloatStorage``, a view of it, tensors by key, and the pickle."""
    flat = torch.cat([value.flatten() for value in state.values()])
    storages = io.BytesIO()
    pickle.dump(1, storages, 2)
    pickle.dump((100, "cpu", torch.FloatStorage), storages, 2)
    storages.write(struct.pack("<q", flat.numel()) + flat.numpy().tobytes())
    pickle.dump([(200, 100, 5, flat.numel() - 5)], storages, 2)  # a view that starts at the fifth element
    tensors = io.BytesIO()
    pickle.dump(len(state), tensors, 2)
    offset, keys = 0, {}
    for key, (name, value) in enumerate(state.items(), start=1000):
        storage, first = (200, offset - 5) if offset >= 5 else (100, offset)
        pickle.dump((key, storage, torch.FloatTensor), tensors, 2)
        numbers = (*value.shape, *value.stride(), first)
        tensors.write(struct.pack("<ii", value.ndim, 0) + struct.pack(f"<{len(numbers)}q", *numbers))
        keys[name], offset = Reference(key), offset + value.numel()
    pickled = io.BytesIO()
    ReferencePickler(pickled, 2).dump({"state_dict": keys} if wrap else keys)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:", format=tarfile.PAX_FORMAT) as archive:
        for name, content in (("sys_info", pickle.dumps({"protocol_version": 1000}, 2)), ("pickle", pickled.getvalue()),
                              ("storages", storages.getvalue()), ("tensors", tensors.getvalue())):  # fmt: skip
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def test_the_tar_format(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(tarred(STATE))
    theirs = torch.load(tmp_path / "w", weights_only=False)  # torch agrees that this is its format
    assert all(torch.equal(theirs[name], value) for name, value in STATE.items())
    for wrap in (False, True):
        (tmp_path / "w").write_bytes(tarred(STATE, wrap))
        checkpoint = checkpoints.load(tmp_path / "w")
        assert all(torch.equal(checkpoint.weights[name], value) for name, value in STATE.items())


@pytest.mark.parametrize("cut", [600, 2000, 5000, 9000, 12000])
def test_a_truncated_tar(tmp_path: Path, cut: int) -> None:
    (tmp_path / "w").write_bytes(tarred(STATE)[:cut])
    with pytest.raises(CheckpointError):
        checkpoints.load(tmp_path / "w")


@pytest.mark.realdata
def test_agrees_with_torch_on_real_files(shared_data: Path) -> None:
    files = [*(shared_data / "checkpoints").glob("*.pth*"), *(shared_data / "families").glob("*.pth")]
    assert len(files) == 5
    for file in files:
        ours, theirs = torch_file.read(file.read_bytes()), torch.load(file, map_location="cpu", weights_only=True)
        ours, theirs = ours.get("state_dict", ours), theirs.get("state_dict", theirs)
        assert list(ours) == list(theirs)
        assert all(torch.equal(ours[name].load(), value) for name, value in theirs.items())
