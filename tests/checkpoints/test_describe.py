"""What ``edgekit inspect`` says, against the published tables; and what batch norms remember."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import small
import torch

from edgekit import checkpoints, models
from edgekit.checkpoints.description import name_of
from edgekit.checkpoints.source import Architecture
from edgekit.checkpoints.statistics import input_statistics, is_swish


def v2(channels: tuple[int, int, int], head: int) -> Architecture:
    half = tuple(count // 2 for count in channels)
    return Architecture(2, 24, channels, half, half, half, classes=1000, head_channels=head)


def v1(stem: int, channels: tuple[int, int, int], groups: int, bias: bool = False) -> Architecture:
    mid = tuple(count // 4 for count in channels)
    inputs = (stem, *channels[:2])
    return Architecture(1, stem, channels, mid, mid, inputs, classes=1000, groups=groups, classifier_bias=bias)


# Parameters in millions and MFLOPs as their sources print them: PaddleClas' model list (V2 up to x1.5), Megvii's
# README (V2 x2.0) and mmpretrain's metafile (V1).
PUBLISHED = [
    (v2((24, 48, 96), 512), "ShuffleNet V2 x0.25", 0.6, 18.95),
    (v2((32, 64, 128), 512), "ShuffleNet V2 x0.33", 0.65, 24.04),
    (v2((48, 96, 192), 1024), "ShuffleNet V2 x0.5", 1.37, 42.58),
    (v2((116, 232, 464), 1024), "ShuffleNet V2 x1.0", 2.28, 148.86),
    (v2((176, 352, 704), 1024), "ShuffleNet V2 x1.5", 3.5, 301.35),
    (v2((244, 488, 976), 2048), "ShuffleNet V2 x2.0", 7.39, 591.0),
    (v1(24, (240, 480, 960), 3, bias=True), "ShuffleNet V1 x1.0 g3", 1.87, 146.0),
]


@pytest.mark.parametrize(("architecture", "name", "params_m", "mflops"), PUBLISHED, ids=[row[1] for row in PUBLISHED])
def test_figures_of_the_published_tables(architecture: Architecture, name: str, params_m: float, mflops: float) -> None:
    counted = models.cost(architecture, 224, 224)
    assert name_of(architecture) == name
    assert counted.params / 1e6 == pytest.approx(params_m, abs=0.006)
    assert counted.flops / 1e6 == pytest.approx(mflops, rel=0.003)


@pytest.mark.parametrize(
    ("architecture", "params_m", "macs_m"),
    [
        (v1(12, (120, 240, 480), 3), 0.7, 38),
        (v1(16, (192, 384, 768), 8), 1.0, 40),
        (v1(24, (240, 480, 960), 3), 1.9, 138),
        (v1(24, (384, 768, 1536), 8), 2.4, 138),
        (v1(24, (360, 720, 1440), 3), 3.4, 292),
        (v1(24, (576, 1152, 2304), 8), 4.3, 290),
        (v1(48, (480, 960, 1920), 3), 5.4, 524),
        (v1(48, (768, 1536, 3072), 8), 6.5, 522),
    ],
)
def test_megvii_table_counts_multiply_accumulates(architecture: Architecture, params_m: float, macs_m: float) -> None:
    counted = models.cost(architecture, 224, 224)
    assert counted.params / 1e6 == pytest.approx(params_m, abs=0.06)
    assert counted.macs / 1e6 == pytest.approx(macs_m, rel=0.025)


def test_own_channel_lists_are_custom() -> None:
    assert name_of(small.ARCHITECTURE) == "ShuffleNet V2 custom"
    assert name_of(replace(v2((116, 232, 464), 1024), activation="swish")) == "ShuffleNet V2 x1.0 swish"
    assert name_of(v1(24, (240, 480, 900), 3)) == "ShuffleNet V1 custom g3"


def test_describe_is_json_and_complete(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(small.zipped({"state_dict": small.state_dict(), "classes": ["x", "y", "z"]}))
    facts = checkpoints.describe(checkpoints.load(tmp_path / "w"))
    assert json.loads(json.dumps(facts)) == facts
    assert facts["family"] == "torchvision"
    assert facts["channels"] == [4, 4, 8, 12, 5]
    assert facts["repeats"] == [2, 2, 1]
    assert facts["labels"] == ["x", "y", "z"]
    assert facts["preprocessing"]["normalization"]["order"] == "rgb"
    assert facts["preprocessing"]["resize"] == 256


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("file", "name", "channels", "order", "scale", "interpolation"),
    [
        (
            "checkpoints/megvii_v1_x0.5_g3_imagenet.pth.tar",
            "ShuffleNet V1 x0.5 g3",
            [12, 120, 240, 480],
            "bgr",
            1.0,
            "linear",
        ),
        (
            "checkpoints/megvii_v2_custom_paddy.pth",
            "ShuffleNet V2 custom",
            [24, 40, 80, 160, 1024],
            "rgb",
            255.0,
            "linear",
        ),
        (
            "checkpoints/torchvision_v2_x0.5_person.pth",
            "ShuffleNet V2 x0.5",
            [24, 48, 96, 192, 1024],
            "rgb",
            58.395,
            "antialias",
        ),
        ("families/tf_v2_0.5", "ShuffleNet V2 x0.5", [24, 48, 96, 192, 1024], "rgb", 127.5, "linear"),
        (
            "families/ppcls_shufflenetv2_swish.pdparams",
            "ShuffleNet V2 x1.0 swish",
            [24, 116, 232, 464, 1024],
            "rgb",
            58.395,
            "linear",
        ),
        (
            "families/mm_shufflenet_v1_1x_g3.pth",
            "ShuffleNet V1 x1.0 g3",
            [24, 240, 480, 960],
            "rgb",
            58.395,
            "antialias",
        ),
    ],
)
def test_real_files(
    shared_data: Path, file: str, name: str, channels: list[int], order: str, scale: float, interpolation: str
) -> None:
    facts = checkpoints.describe(checkpoints.load(shared_data / file))
    assert (facts["architecture"], facts["channels"]) == (name, channels)
    preprocessing = facts["preprocessing"]
    assert preprocessing["normalization"]["order"] == order
    assert preprocessing["normalization"]["std"][0] == pytest.approx(scale)
    assert preprocessing["interpolation"] == interpolation


# -- what batch norms remember -------------------------------------------------------------------------------


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("file", "scale", "mean"),
    [
        ("megvii_v1_x0.5_g3_imagenet.pth.tar", "pixels", (103.5, 116.3, 123.7)),  # ImageNet's mean in BGR
        ("megvii_v2_custom_paddy.pth", "unit", None),
        ("torchvision_v2_x0.5_person.pth", "normalized", (0, 0, 0)),
        ("torchvision_v2_x1.0_imagenette10.pth", "normalized", (0, 0, 0)),
    ],
)
def test_trained_stems_tell_their_input(
    shared_data: Path, file: str, scale: str, mean: tuple[float, ...] | None
) -> None:
    weights = checkpoints.load(shared_data / "checkpoints" / file).weights
    seen = input_statistics(weights["conv1.0.weight"], weights["conv1.1.running_mean"], weights["conv1.1.running_var"])
    assert seen is not None
    assert seen.scale == scale
    if mean is not None:
        assert seen.mean == pytest.approx(mean, abs=5 if scale == "pixels" else 0.2)


@pytest.mark.parametrize("swish", [False, True])
def test_a_trained_activation_is_told_apart(swish: bool) -> None:
    """Batch norms of a network that really ran: the statistics are measured, not computed from the formula."""
    generator = torch.Generator().manual_seed(3)
    half = tuple(c // 2 for c in (16, 32, 64))
    kind = "swish" if swish else "relu"
    spec = Architecture(2, 8, (16, 32, 64), half, half, half, 10, head_channels=64, activation=kind)  # type: ignore[arg-type]
    weights = {}
    for name, value in models.empty(spec).state_dict().items():
        shape = tuple(value.shape)
        if name.endswith(("running_var",)) or (len(shape) == 1 and name.endswith("weight")):
            weights[name] = torch.rand(shape, generator=generator) + 0.5
        elif len(shape) == 4 and shape[1] == 1:  # depthwise kernels rather blur than cancel, as trained ones do
            weights[name] = torch.randn(shape, generator=generator) * 0.2 + 0.15
        elif not name.endswith("num_batches_tracked"):
            weights[name] = torch.randn(shape, generator=generator) * (0.4 if len(shape) > 1 else 0.3)
    network = models.build(spec, weights).train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # plain averages
            module.reset_running_stats()
    for _ in range(2):
        network(torch.randn(2, 3, 160, 160, generator=generator))
    state = network.state_dict()
    ends = ("stage2", "stage3")
    units = [n.removesuffix("branch2.1.weight") for n in state if n.startswith(ends) and n.endswith("branch2.1.weight")]
    parts = ("branch2.1.weight", "branch2.1.bias", "branch2.3.weight", "branch2.4.running_mean")
    layers = [tuple(state[u + part] for part in parts) for u in units]
    assert is_swish(layers) is swish  # type: ignore[arg-type]


def test_random_weights_tell_nothing() -> None:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(24, 3, 3, 3, generator=generator)
    mean, variance = torch.randn(24, generator=generator), torch.rand(24, generator=generator) + 0.5
    assert input_statistics(weight, mean, variance) is None
    layer = (variance, mean, weight[:, :1], torch.randn(24, generator=generator) * 5)
    assert is_swish([layer]) is None
    assert is_swish([]) is None
