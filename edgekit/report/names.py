"""What the literature calls a ShuffleNet of certain widths, so that published figures can be found for it."""

from __future__ import annotations

from collections.abc import Sequence

# Output channels of stages 2, 3 and 4. V2: N. Ma et al., "ShuffleNet V2", ECCV 2018, table 5. V1: X. Zhang et al.,
# "ShuffleNet", CVPR 2018, table 1, for each number of groups at width 1.
_V2 = {(48, 96, 192): "0.5", (116, 232, 464): "1.0", (176, 352, 704): "1.5", (244, 488, 976): "2.0"}
_V1 = {
    1: (144, 288, 576),
    2: (200, 400, 800),
    3: (240, 480, 960),
    4: (272, 544, 1088),
    8: (384, 768, 1536),
}


def network_name(version: int, stage_channels: Sequence[int], groups: int = 1) -> str:
    """``shufflenet_v2_x1.0`` and the like; empty for widths that no paper names.

    V1 widths scale the paper's; a scaled width that its groups do not divide was rounded by its authors, so 5 % apart
    still counts.
    """
    channels = tuple(stage_channels)
    if version == 2:
        return f"shufflenet_v2_x{_V2[channels]}" if channels in _V2 else ""
    if groups not in _V1 or len(channels) != 3:
        return ""
    for width in (0.25, 0.5, 1.0, 1.5, 2.0):
        if all(abs(own / (width * full) - 1) < 0.05 for own, full in zip(channels, _V1[groups], strict=True)):
            return f"shufflenet_v1_x{width}" if groups == 3 else f"shufflenet_v1_x{width}_g{groups}"
    return ""
