"""CRC-32C (Castagnoli), the checksum of TensorFlow's files, fast enough for megabytes without a compiled module.

The polynomial is 0x1EDC6F41, reflected 0x82F63B78 (RFC 3720, appendix B.4). A long input is cut into equal lanes whose
checksums advance side by side in numpy; lanes are joined with the fact that appending zeros is linear over GF(2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = 0x82F63B78


def _byte_table() -> NDArray[np.uint32]:
    values: NDArray[np.uint32] = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = (values >> np.uint32(1)) ^ (values & np.uint32(1)) * np.uint32(_POLYNOMIAL)
    return values


_TABLE = _byte_table()


def crc32c(data: bytes | memoryview) -> int:
    """The checksum of the bytes, as an unsigned 32-bit number."""
    octets = np.frombuffer(data, np.uint8)
    lanes = max(1, int(len(octets) ** 0.5))
    length = len(octets) // lanes
    head = octets[: lanes * length].reshape(lanes, length)
    # Every lane starts from 0 but the first, which carries the initial value of all ones.
    state = np.zeros(lanes, np.uint32)
    state[0] = 0xFFFFFFFF
    for column in head.T:
        state = _TABLE[(state ^ column) & 0xFF] ^ (state >> 8)
    append_lane = _zeros_operator(length)
    joined = int(state[0])
    for lane in state[1:].tolist():
        joined = _apply(append_lane, joined) ^ lane
    for octet in octets[lanes * length :].tolist():
        joined = int(_TABLE[(joined ^ octet) & 0xFF]) ^ (joined >> 8)
    return joined ^ 0xFFFFFFFF


def masked(checksum: int) -> int:
    """How TensorFlow and LevelDB store a checksum: rotated, so that one over data with checksums stays meaningful."""
    return (((checksum >> 15) | (checksum << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _zeros_operator(count: int) -> list[int]:
    """What appending ``count`` zero bytes does to each single bit of the state: the columns of a 32 × 32 matrix."""
    power = [int(_TABLE[(1 << bit) & 0xFF]) ^ ((1 << bit) >> 8) for bit in range(32)]  # one byte
    result = [1 << bit for bit in range(32)]
    while count:
        if count & 1:
            result = [_apply(power, column) for column in result]
        power = [_apply(power, column) for column in power]
        count >>= 1
    return result


def _apply(operator: list[int], state: int) -> int:
    result = 0
    for column in operator:
        if not state:
            break
        if state & 1:
            result ^= column
        state >>= 1
    return result
