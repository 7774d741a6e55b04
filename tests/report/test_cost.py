"""Costs of hand-built graphs counted by hand, and the roofline's constants against published floors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.config import load_target
from edgekit.errors import GraphError
from edgekit.report.cost import cost, roofline
from edgekit.report.work import OperatorCost, count


def tensor(name: str, *shape: int, dtype: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.zeros(shape, dtype), name)


def model(
    nodes: list[onnx.NodeProto],
    initializers: list[onnx.TensorProto],
    size: int,
    classes: int,
    kind: int = TensorProto.FLOAT,
) -> ir.Model:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, ["N", 3, size, size])],
        [helper.make_tensor_value_info("y", kind, ["N", classes])],
        initializers,
    )
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10))


def float_network() -> ir.Model:
    """3×3 stride 2 to 8 channels, ReLU, split, depthwise, pointwise, concat, pool, classifier of 5."""
    conv = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    return model(
        [
            helper.make_node("Conv", ["x", "w0", "b0"], ["c0"], "stem", strides=[2, 2], **conv),
            helper.make_node("Relu", ["c0"], ["r0"], "stem/relu"),
            helper.make_node("Split", ["r0", "sizes"], ["l", "r"], "split", axis=1),
            helper.make_node("Conv", ["r", "w1", "b1"], ["c1"], "depthwise", group=4, **conv),
            helper.make_node("Conv", ["c1", "w2", "b2"], ["c2"], "pointwise", kernel_shape=[1, 1]),
            helper.make_node("Relu", ["c2"], ["r2"], "pointwise/relu"),
            helper.make_node("Concat", ["l", "r2"], ["cat"], "concat", axis=1),
            helper.make_node("GlobalAveragePool", ["cat"], ["pooled"], "pool"),
            helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"),
            helper.make_node("Gemm", ["flat", "w3", "b3"], ["y"], "classifier", transB=1),
        ],
        [
            *(tensor("w0", 8, 3, 3, 3), tensor("b0", 8), tensor("w1", 4, 1, 3, 3), tensor("b1", 4)),
            *(tensor("w2", 4, 4, 1, 1), tensor("b2", 4), tensor("w3", 5, 8), tensor("b3", 5)),
            numpy_helper.from_array(np.array([4, 4], np.int64), "sizes"),
        ],
        16,
        5,
    )


def test_every_operator_by_hand() -> None:
    rows = {row.name: row for row in count(float_network())}
    assert list(rows) == ["stem", "split", "depthwise", "pointwise", "concat", "pool", "flatten", "classifier"]
    plane = 8 * 8
    assert rows["stem"] == OperatorCost("stem", "Conv", 8 * plane * 27, 216, 8, 3 * 256, 8 * plane, False)
    assert rows["depthwise"].op == "Conv depthwise" and rows["depthwise"].macs == 4 * plane * 9
    assert rows["pointwise"].op == "Conv 1×1" and rows["pointwise"].macs == 4 * plane * 4
    assert rows["classifier"].macs == 40 and rows["classifier"].weights == 40 and rows["classifier"].biases == 5
    assert (rows["split"].read, rows["split"].written, rows["split"].macs) == (8 * plane, 8 * plane, 0)
    assert (rows["concat"].read, rows["concat"].written) == (8 * plane, 8 * plane)
    assert (rows["flatten"].read, rows["flatten"].written) == (0, 0)
    assert rows["stem"].bytes_at("fp32") == 4 * (216 + 8 + 3 * 256 + 8 * plane)
    assert rows["stem"].bytes_at("int8") == 216 + 4 * 8 + 3 * 256 + 8 * plane


def test_quantize_and_dequantize_cost_nothing_and_weights_are_found_behind_them() -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "one", "zero"], ["xf"], "in"),
        helper.make_node("DequantizeLinear", ["w", "one", "zero_w"], ["wf"], "w/dq"),
        helper.make_node("DequantizeLinear", ["b", "one", "zero_b"], ["bf"], "b/dq"),
        helper.make_node("Conv", ["xf", "wf", "bf"], ["c"], "conv", kernel_shape=[1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("QuantizeLinear", ["r", "one", "zero"], ["q"], "q"),
        helper.make_node("DequantizeLinear", ["q", "one", "zero"], ["d"], "dq"),
        helper.make_node("GlobalAveragePool", ["d"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("QuantizeLinear", ["f", "one", "zero"], ["y"], "out"),
    ]
    initializers = [
        tensor("one"),
        tensor("zero", dtype=np.uint8),
        tensor("zero_w", dtype=np.int8),
        tensor("zero_b", dtype=np.int32),
        tensor("w", 6, 3, 1, 1, dtype=np.int8),
        tensor("b", 6, dtype=np.int32),
    ]
    rows = count(model(nodes, initializers, 4, 6, TensorProto.UINT8))
    assert [row.name for row in rows] == ["conv", "pool", "flatten"]
    assert (rows[0].macs, rows[0].weights, rows[0].biases) == (6 * 16 * 3, 18, 6)
    assert (rows[0].read, rows[0].written, rows[0].integer) == (48, 96, True)


def test_totals_by_kind_and_the_json_object() -> None:
    found = cost(float_network(), load_target("rpi4"), "shufflenet_v2_x1.0")
    assert found.macs == 8 * 64 * 27 + 4 * 64 * 9 + 4 * 64 * 4 + 40
    assert found.params == 216 + 8 + 36 + 4 + 16 + 4 + 40 + 5
    assert [row.op for row in found.by_kind()][:3] == ["Conv", "Conv depthwise", "Conv 1×1"]
    data = found.to_dict()
    assert data["by_operator"][0] == {"op": "Conv", "nodes": 1, "macs": 13824, "params": 224, "moved": 1280}
    assert {peer["model"] for peer in data["peers"]} == {"shufflenet_v2_x1.0"}
    assert cost(float_network(), load_target("rpi4"), "no such network").peers == ()


@pytest.mark.parametrize(
    ("board", "precision", "one", "four"),
    [  # compute-only floors of 146 million multiply-accumulates, from each core's published multiply rates
        ("rpi4", "fp32", 20.3, 5.1),
        ("rpi4", "int8", 10.1, 2.5),
        ("rpi5", "fp32", 7.6, 1.9),
        ("rpi5", "int8", 1.9, 0.48),
    ],
)
def test_compute_floors_of_a_146_mmac_network(board: str, precision: str, one: float, four: float) -> None:
    network = [OperatorCost("all", "Conv", 146_000_000, 1, 1, 1, 1, False)]
    floors = {(f.precision, f.cores): f for f in roofline(network, load_target(board))}
    assert floors[precision, 1].compute_ms == pytest.approx(one, rel=0.01)
    assert floors[precision, 4].compute_ms == pytest.approx(four, rel=0.02)


def test_the_memory_roof_takes_over_for_a_network_of_weights() -> None:
    network = [OperatorCost("fc", "Gemm", 100_000_000, 100_000_000, 10, 1000, 1000, False)]
    target = load_target("rpi4")
    bandwidth = target.memory.bandwidth_gb_s
    assert bandwidth is not None
    floor = next(f for f in roofline(network, target) if (f.precision, f.cores) == ("fp32", 4))
    assert floor.memory_ms == pytest.approx(400.005 / bandwidth, rel=1e-3)
    assert floor.floor_ms == floor.memory_ms > floor.compute_ms
    assert floor.spilled_ms is not None and floor.spilled_ms >= floor.floor_ms


def test_without_facts_there_is_no_floor() -> None:
    target = load_target("rpi4")
    bare = replace(target, cpu=replace(target.cpu, macs_per_cycle=None))
    assert cost(float_network(), bare).floors == ()
    unknown = replace(target, memory=replace(target.memory, bandwidth_gb_s=None))
    floor = cost(float_network(), unknown).floors[0]
    assert floor.memory_ms is None and floor.spilled_ms is None and floor.floor_ms == floor.compute_ms


def test_the_callers_graph_is_left_as_it_was() -> None:
    graph = float_network()
    before = [value.shape for node in graph.graph for value in node.outputs]
    count(graph)
    assert [value.shape for node in graph.graph for value in node.outputs] == before


def test_shapes_that_cannot_be_known() -> None:
    broken = model(
        [
            helper.make_node("Mystery", ["x"], ["m"], "mystery", domain="com.example"),
            helper.make_node("Conv", ["m", "w"], ["c"], "conv", kernel_shape=[3, 3]),
            helper.make_node("Flatten", ["c"], ["y"]),
        ],
        [tensor("w", 8, 5, 3, 3)],
        16,
        5,
    )
    with pytest.raises(GraphError, match="cannot be inferred"):
        count(broken)
