"""The lowered graph computes what the source graph computes, without moving channels about."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx_ir")

from edgekit.contracts import IMAGENET, ImageContract, Normalization
from edgekit.errors import GraphError
from edgekit.graph import dynamic_batch, lower

IMAGE = ImageContract(12, 12, 12)
ALLOWED = {"Conv", "Relu", "Clip", "Split", "Concat", "Add", "MaxPool", "AveragePool", "GlobalAveragePool", "Flatten",
           "Gemm", "Mul", "Sigmoid", "Softmax", "Sub", "Transpose", "Cast", "HardSwish"}  # fmt: skip


def close(a: np.ndarray, b: np.ndarray, tolerance: float = 2e-6) -> bool:
    return bool(np.linalg.norm(a - b) <= tolerance * np.linalg.norm(a))


def picture(seed: int, channels: int = 3, size: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (1, channels, size, size)).astype(np.float32)


def ops(model: Any) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


def draw_unit(pen: Any, x: str, groups: int = 2) -> str:
    """A ShuffleNet V2 unit: split, branch, concat, shuffle."""
    kept, used = pen.split(x, pen.shapes[x][1] // 2)
    c = pen.shapes[used][1]
    y = pen.relu(pen.batch_norm(pen.conv(used, c)))
    y = pen.batch_norm(pen.conv(y, c, kernel=3, group=c))
    y = pen.relu(pen.batch_norm(pen.conv(y, c)))
    return pen.shuffle(pen.concat([kept, y]), groups)


def test_v2_stage_keeps_one_split_per_producer_and_one_concat_per_consumer(pen: Any, run: Any) -> None:
    p = pen()
    x = p.relu(p.conv("x", 16, kernel=3, stride=2))
    for _ in range(4):
        x = draw_unit(p, x)
    model = p.model(p.head(x))
    lowered = lower(model, None, IMAGE)
    found = ops(lowered.model)
    assert found["Reshape"] == found["Transpose"] == found["Gather"] == found["Slice"] == 0
    # Five producers (the stem and four branches); the last branch is read whole. Four branches and the head consume.
    assert found["Split"] <= 4 and found["Concat"] <= 4
    assert found["BatchNormalization"] == 0
    assert close(run(model, picture(1)), run(lowered.model, picture(1)))


def test_v1_unit_becomes_slices_and_keeps_its_groups(pen: Any, run: Any) -> None:
    p = pen()
    x = p.relu(p.conv("x", 24, kernel=3))
    y = p.relu(p.batch_norm(p.conv(x, 12, group=3)))
    y = p.batch_norm(p.conv(p.shuffle(y, 3), 12, kernel=3, group=12))
    y = p.batch_norm(p.conv(y, 24, group=3))
    x = p.relu(p.node("Add", [x, y], p.shapes[x]))
    model = p.model(p.head(x))
    lowered = lower(model, None, IMAGE)
    found = ops(lowered.model)
    assert found["Split"] == 1 and found["Concat"] == 1 and found["Reshape"] == 0
    assert close(run(model, picture(2)), run(lowered.model, picture(2)))


@pytest.mark.parametrize(
    "normalization", [IMAGENET, Normalization("bgr"), Normalization("bgr", (10, 20, 30), (40, 50, 60))]
)
@pytest.mark.parametrize("pad", [0, 1])
def test_pixels_in_are_normalized_exactly_up_to_the_border(
    pen: Any, run: Any, normalization: Normalization, pad: int
) -> None:
    p = pen()
    model = p.model(p.head(p.relu(p.conv("x", 8, kernel=3, stride=2, pad=pad))))
    lowered = lower(model, normalization, IMAGE)
    pixels = np.random.default_rng(3).integers(0, 256, (1, 12, 12, 3), dtype=np.uint8)
    ordered = pixels[..., ::-1] if normalization.order == "bgr" else pixels
    x = (ordered.astype(np.float32) - np.array(normalization.mean, np.float32)) / np.array(
        normalization.std, np.float32
    )
    assert close(run(model, np.ascontiguousarray(x.transpose(0, 3, 1, 2))), run(lowered.model, pixels))


def test_batch_becomes_free(pen: Any, run: Any) -> None:
    p = pen()
    model = p.model(p.head(draw_unit(p, p.relu(p.conv("x", 8, kernel=3, stride=2)))))
    lowered = lower(model, IMAGENET, IMAGE).model
    pixels = np.random.default_rng(4).integers(0, 256, (3, 12, 12, 3), dtype=np.uint8)
    together = run(dynamic_batch(lowered), pixels)
    assert close(together, np.concatenate([run(lowered, one[None]) for one in pixels]))


def test_padding_that_no_window_reaches_is_dropped(pen: Any) -> None:
    p = pen()
    lowered = lower(p.model(p.head(p.conv("x", 4, kernel=3, stride=2))), None, IMAGE)
    conv = next(node for node in lowered.model.graph if node.op_type == "Conv")
    assert list(conv.attributes["pads"].as_ints()) == [1, 1, 0, 0]


def test_average_pool_that_counts_padding_becomes_a_depthwise_convolution(pen: Any, run: Any) -> None:
    p = pen()
    x = p.relu(p.conv("x", 6))
    x = p.node("AveragePool", [x], (1, 6, 6, 6), kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, count_include_pad=1)
    model = p.model(p.head(x))
    lowered = lower(model, None, IMAGE)
    assert ops(lowered.model)["AveragePool"] == 0
    assert close(run(model, picture(5)), run(lowered.model, picture(5)))


def test_explicit_pads_fold_into_windows(pen: Any, run: Any) -> None:
    p = pen()
    pads = np.array([0, 0, 0, 0, 0, 0, 1, 1], np.int64)  # TensorFlow's SAME: nothing before, one after
    x = p.node("Pad", ["x", p.const(pads)], (1, 3, 13, 13))
    x = p.relu(p.conv(x, 4, kernel=3, stride=2, pad=0))
    x = p.node("Pad", [x, p.const(pads)], (1, 4, 7, 7))
    x = p.node("MaxPool", [x], (1, 4, 3, 3), kernel_shape=[3, 3], strides=[2, 2])
    model = p.model(p.head(x))
    lowered = lower(model, None, IMAGE)
    assert ops(lowered.model)["Pad"] == 0
    assert close(run(model, picture(6)), run(lowered.model, picture(6)))


def test_maximum_over_explicit_zeros_of_signed_values_is_refused(pen: Any) -> None:
    p = pen()
    x = p.conv("x", 4)
    x = p.node("Pad", [x, p.const(np.array([0, 0, 1, 1, 0, 0, 0, 0], np.int64))], (1, 4, 13, 13))
    x = p.node("MaxPool", [x], (1, 4, 6, 6), kernel_shape=[3, 3], strides=[2, 2])
    with pytest.raises(GraphError, match="may be negative"):
        lower(p.model(p.head(x)), None, IMAGE)


def test_nhwc_detours_vanish(pen: Any, run: Any) -> None:
    """Graphs from TensorFlow transpose to NHWC around elementwise operators and means."""
    p = pen()
    x = p.conv("x", 6, kernel=3)
    last = p.node("Transpose", [x], (1, 12, 12, 6), perm=[0, 2, 3, 1])
    last = p.node("Relu", [last], (1, 12, 12, 6))
    last = p.node("Mul", [last, p.const(p.random.uniform(0.5, 2, 6).astype(np.float32))], (1, 12, 12, 6))
    mean = p.node("ReduceMean", [last, p.const(np.array([1, 2], np.int64))], (1, 6), keepdims=0)
    out = p.node("MatMul", [mean, p.const(p.random.normal(0, 1, (6, 5)).astype(np.float32))], (1, 5))
    model = p.model(p.node("Add", [out, p.const(np.arange(5, dtype=np.float32))], (1, 5)))
    lowered = lower(model, None, IMAGE)
    assert set(ops(lowered.model)) <= ALLOWED - {"Transpose"}
    assert close(run(model, picture(7)), run(lowered.model, picture(7)))


def test_softmax_is_dropped_or_kept(pen: Any, run: Any) -> None:
    p = pen()
    logits = p.head(p.conv("x", 4))
    model = p.model(p.node("Softmax", [logits], (1, 5), axis=1))
    kept, dropped = lower(model, None, IMAGE, softmax="keep"), lower(model, None, IMAGE)
    assert (kept.output, dropped.output) == ("probabilities", "logits")
    expected = run(model, picture(8))
    scores = np.exp(run(dropped.model, picture(8)))
    assert close(expected, run(kept.model, picture(8))) and close(expected, scores / scores.sum())


def test_source_graph_is_left_alone(pen: Any, run: Any) -> None:
    p = pen()
    model = p.model(p.head(draw_unit(p, p.conv("x", 8))))
    before, nodes = run(model, picture(9)), [(n.op_type, n.name) for n in model.graph]
    lower(model, IMAGENET, IMAGE)
    assert [(n.op_type, n.name) for n in model.graph] == nodes
    assert np.array_equal(before, run(model, picture(9)))


@pytest.mark.parametrize(
    ("op", "attributes", "said"),
    [("Erf", {}, "Erf"), ("LeakyRelu", {}, "LeakyRelu"), ("SpaceToDepth", {"blocksize": 2}, "SpaceToDepth")],
)
def test_unknown_operators_are_refused_by_name(pen: Any, op: str, attributes: dict[str, Any], said: str) -> None:
    p = pen()
    x = p.conv("x", 4)
    x = p.node(op, [x], (1, 16, 6, 6) if op == "SpaceToDepth" else p.shapes[x], **attributes)
    with pytest.raises(GraphError, match=said):
        lower(p.model(p.head(x)), None, IMAGE)


def test_rearranged_pixels_are_refused(pen: Any) -> None:
    p = pen()
    x = p.node("Transpose", [p.conv("x", 4)], (1, 4, 12, 12), perm=[0, 1, 3, 2])
    with pytest.raises(GraphError, match="pixels"):
        lower(p.model(p.head(p.conv(x, 4))), None, IMAGE)


@st.composite
def programs(draw: st.DrawFn) -> list[tuple[Any, ...]]:
    step = st.one_of(
        st.tuples(st.just("conv"), st.integers(0, 99), st.sampled_from([4, 6, 8])),
        st.tuples(st.just("grouped"), st.integers(0, 99)),
        st.tuples(st.just("depthwise"), st.integers(0, 99)),
        st.tuples(st.just("relu"), st.integers(0, 99)),
        st.tuples(st.just("norm"), st.integers(0, 99)),
        st.tuples(st.just("swish"), st.integers(0, 99)),
        st.tuples(st.just("pool"), st.integers(0, 99)),
        st.tuples(st.just("split"), st.integers(0, 99), st.integers(1, 7)),
        st.tuples(st.just("strided"), st.integers(0, 99)),
        st.tuples(st.just("shuffle"), st.integers(0, 99)),
        st.tuples(st.just("gather"), st.integers(0, 99), st.integers(0, 10**6)),
        st.tuples(st.just("concat"), st.integers(0, 99), st.integers(0, 99)),
        st.tuples(st.just("add"), st.integers(0, 99), st.integers(0, 99)),
    )
    return draw(st.lists(step, min_size=3, max_size=14))


def build(pen: Any, program: list[tuple[Any, ...]], seed: int) -> Any:
    """Any program draws a valid graph: a step whose operands do not fit is left out."""
    p = pen(size=8, seed=seed)
    values = [p.relu(p.conv("x", 8, kernel=3))]
    for step in program:
        x = values[step[1] % len(values)]
        n, c, h, w = p.shapes[x]
        match step[0]:
            case "conv":
                values.append(p.conv(x, step[2]))
            case "grouped" if c % 2 == 0:
                values.append(p.conv(x, 8, group=2))
            case "depthwise" if c > 1:
                values.append(p.conv(x, c, kernel=3, group=c))
            case "relu":
                values.append(p.relu(x))
            case "norm":
                values.append(p.batch_norm(x))
            case "swish":
                values.append(p.node("Mul", [x, p.node("Sigmoid", [x], p.shapes[x])], p.shapes[x]))
            case "pool":
                values.append(p.node("MaxPool", [x], p.shapes[x], kernel_shape=[3, 3], pads=[1] * 4))
            case "split" if 0 < step[2] < c:
                values += p.split(x, step[2])
            case "strided" if c % 2 == 0:
                ends = [p.const(np.array([v], np.int64)) for v in (1, 2**31, 1, 2)]
                values.append(p.node("Slice", [x, *ends], (n, c // 2, h, w)))
            case "shuffle" if c % 2 == 0:
                values.append(p.shuffle(x, 2))
            case "gather":
                values.append(p.gather(x, np.random.default_rng(step[2]).permutation(c)))
            case "concat" if c + p.shapes[values[step[2] % len(values)]][1] <= 24:
                values.append(p.concat([x, values[step[2] % len(values)]]))
            case "add":
                same = [v for v in values if p.shapes[v] == p.shapes[x]]
                values.append(p.node("Add", [x, same[step[2] % len(same)]], p.shapes[x]))
    return p.model(p.head(p.concat(values[-3:])))


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=programs(), seed=st.integers(0, 2**16))
# A channel read twice, by layers that must tell the two readings apart.
@example(program=[("concat", 0, 0), ("grouped", 1), ("conv", 1, 4)], seed=0)
@example(program=[("concat", 0, 0), ("grouped", 0), ("norm", 1)], seed=0)
# Two sides of an addition that are cut from layers of different sizes in the same way.
@example(
    program=[
        ("split", 3, 6), ("grouped", 64), ("conv", 72, 6), ("shuffle", 27), ("swish", 62), ("concat", 96, 88),
        ("add", 43, 89), ("concat", 54, 48), ("conv", 43, 6), ("depthwise", 37), ("add", 61, 93), ("norm", 6),
        ("grouped", 12), ("gather", 49, 44),
    ],
    seed=1012,
)  # fmt: skip
def test_any_graph_of_movements_and_layers_is_lowered_exactly(
    pen: Any, run: Any, program: list[tuple[Any, ...]], seed: int
) -> None:
    model = build(pen, program, seed)
    lowered = lower(model, None, ImageContract(8, 8, 8))
    assert set(ops(lowered.model)) <= ALLOWED - {"Transpose", "Cast", "Sub"}
    x = picture(seed, size=8)
    assert close(run(model, x), run(lowered.model, x), 1e-5)
