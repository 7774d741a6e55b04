"""The published widths, told from channel counts."""

from __future__ import annotations

from collections.abc import Sequence

from edgekit.checkpoints.source import Architecture

# Output channels of stages 2, 3 and 4 by width. 2.0 has 244 in the paper's second version and 224 in its first, which
# TensorFlow's implementation follows; Paddle has mixed both. 0.25 and 0.33 are Paddle's.
V2_WIDTHS: dict[tuple[int, ...], float] = {
    (24, 48, 96): 0.25,
    (32, 64, 128): 0.33,
    (48, 96, 192): 0.5,
    (116, 232, 464): 1.0,
    (176, 352, 704): 1.5,
    (224, 448, 896): 2.0,
    (224, 488, 976): 2.0,
    (244, 488, 976): 2.0,
}
# Output channels of stage 2 at width 1, by groups (table 1 of the V1 paper).
V1_STAGE2 = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}


def width_of(architecture: Architecture) -> float | None:
    """The published width multiplier of this channel list, or None where it is somebody's own."""
    return published_width(architecture.version, architecture.stage_channels, architecture.groups)


def published_width(version: int | None, channels: Sequence[int], groups: int) -> float | None:
    """The same for the output channels of stages 2, 3 and 4."""
    channels = tuple(channels)
    if version == 2:
        return V2_WIDTHS.get(channels)
    base = V1_STAGE2.get(groups)
    if version != 1 or base is None or channels != (channels[0], 2 * channels[0], 4 * channels[0]):
        return None
    width = channels[0] / base
    return width if width in (0.25, 0.5, 1.0, 1.5, 2.0) else None
