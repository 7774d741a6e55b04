"""Small lowered graphs, built by hand, and a plain range-based quantizer to make QDQ graphs of them.

What comes out has the vocabulary that the emitters read: uint8 ``image`` [N, H, W, 3] in, float ``scores`` out; the
quantized twin has QuantizeLinear/DequantizeLinear around everything but a Conv and its activation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

SHARED = {"Concat", "Split", "MaxPool"}
INT8_MAX = 127


@dataclass
class Net:
    """Collects nodes and initializers; every method adds one node and returns the name of what it makes."""

    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    channels: dict[str, int] = field(default_factory=dict)

    def add(self, op: str, inputs: list[str], outputs: list[str] | None = None, **attributes: Any) -> str:
        outputs = outputs or [f"{op.lower()}_{len(self.nodes)}"]
        self.nodes.append(helper.make_node(op, inputs, outputs, name=f"n{len(self.nodes)}_{op}", **attributes))
        return outputs[0]

    def constant(self, name: str, array: np.ndarray) -> str:
        self.constants[name] = array
        return name

    def conv(
        self,
        x: str,
        out: int,
        kernel: int = 1,
        stride: int = 1,
        pads: tuple[int, int, int, int] | None = None,
        group: int = 1,
        relu: bool = True,
    ) -> str:
        into = self.channels[x]
        n = len(self.nodes)
        scale = 1.4 / np.sqrt(into // group * kernel * kernel) if x not in ("center", "pixels") else 0.01 / kernel
        # Channels of unequal size, so that per-channel scales matter.
        spread = self.rng.uniform(0.5, 1.5, (out, 1, 1, 1))
        weights = self.rng.normal(0, scale, (out, into // group, kernel, kernel)) * spread
        w = self.constant(f"w{n}", weights.astype(np.float32))
        b = self.constant(f"b{n}", self.rng.normal(0, 0.1, out).astype(np.float32))
        p = kernel // 2
        y = self.add(
            "Conv", [x, w, b], kernel_shape=[kernel, kernel], strides=[stride, stride], group=group,
            pads=list(pads or (p, p, p, p)), dilations=[1, 1],
        )  # fmt: skip
        y = self.add("Relu", [y]) if relu else y
        self.channels[y] = out
        return y

    def depthwise(self, x: str, kernel: int = 3, stride: int = 1, pads: tuple[int, int, int, int] | None = None) -> str:
        return self.conv(x, self.channels[x], kernel, stride, pads, group=self.channels[x], relu=False)

    def split(self, x: str, sizes: list[int]) -> list[str]:
        if len(sizes) == 1:
            return [x]
        if 0 in sizes:
            return [x if size else "" for size in sizes]
        n = len(self.nodes)
        outputs = [f"split_{n}_{i}" for i in range(len(sizes))]
        self.add("Split", [x, self.constant(f"sizes{n}", np.array(sizes, np.int64))], outputs, axis=1)
        self.channels |= dict(zip(outputs, sizes, strict=True))
        return outputs

    def concat(self, parts: list[str]) -> str:
        if len(parts) == 1:
            return parts[0]
        y = self.add("Concat", parts, axis=1)
        self.channels[y] = sum(self.channels[p] for p in parts)
        return y

    def unary(self, op: str, x: str, **attributes: Any) -> str:
        y = self.add(op, [x], **attributes)
        self.channels[y] = self.channels[x]
        return y

    def front(self, colour: tuple[float, float, float] | None = (124.0, 116.0, 104.0)) -> str:
        """uint8 NHWC to float NCHW, less the mean colour: what the first convolution's zero pads stand for."""
        x = self.add("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2])
        x = self.add("Cast", [x], ["pixels"], to=TensorProto.FLOAT)
        if colour is not None:
            mean = self.constant("mean_colour", np.array(colour, np.float32).reshape(1, 3, 1, 1))
            x = self.add("Sub", [x, mean], ["center"])
        self.channels[x] = 3
        return x

    def tail(self, x: str, classes: int, softmax: bool = False) -> str:
        x = self.unary("Flatten", self.unary("GlobalAveragePool", x), axis=1)
        features = self.channels[x]
        w = self.constant("fc_w", self.rng.normal(0, 1 / np.sqrt(features), (classes, features)).astype(np.float32))
        b = self.constant("fc_b", self.rng.normal(0, 0.1, classes).astype(np.float32))
        y = self.add("Gemm", [x, w, b], None if softmax else ["scores"], transB=1)
        return self.add("Softmax", [y], ["scores"], axis=-1) if softmax else y

    def model(self, shape: tuple[int, ...], dtype: int = TensorProto.UINT8, name: str = "image") -> ir.Model:
        used = {i for n in self.nodes for i in n.input}
        proto = helper.make_model(
            helper.make_graph(
                self.nodes,
                "net",
                [helper.make_tensor_value_info(name, dtype, ["N", *shape])],
                [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", "C"])],
                [numpy_helper.from_array(a, n) for n, a in self.constants.items() if n in used],
            ),
            opset_imports=[helper.make_opsetid("", 18)],
            ir_version=10,
        )
        return inferred(proto)


def inferred(proto: onnx.ModelProto) -> ir.Model:
    """With every shape filled in; the output's shape is rebuilt from its producer."""
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True))


def shuffle_free_v2(
    size: int = 224,
    widths: tuple[int, ...] = (24, 116, 232, 464, 1024),
    repeats: tuple[int, ...] = (4, 8, 4),
    classes: int = 1000,
    seed: int = 0,
    pixels: bool = True,
) -> ir.Model:
    """ShuffleNet V2 as the lowering leaves it: one Split per producer, one Concat per consumer (random weights)."""
    net = Net(np.random.default_rng(seed))
    net.channels["input"] = 3
    x = net.conv(net.front() if pixels else "input", widths[0], 3, 2, (1, 1, 1, 1))
    x = net.add("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    net.channels[x] = widths[0]
    for stage, units in zip(widths[1:4], repeats, strict=True):
        half = stage // 2
        a = net.conv(net.depthwise(x, 3, 2, (1, 1, 1, 1)), half)
        b = net.conv(net.depthwise(net.conv(x, half), 3, 2, (1, 1, 1, 1)), half)
        parts = [a, b]  # what the next unit's branch and everything after it still wants, oldest first
        for _ in range(units - 1):
            # The channel shuffle deals channels out alternately: half of every part goes into the branch.
            kept, taken, odd = [], [], 0
            for part in parts:
                c = net.channels[part]
                first = (c + odd) // 2
                odd ^= c & 1
                k, t = net.split(part, [first, c - first])
                kept += [k] if k else []
                taken += [t] if t else []
            branch = net.conv(net.depthwise(net.conv(net.concat(taken), half)), half)
            parts = [*kept, branch]
        x = net.concat(parts)
    net.tail(net.conv(x, widths[4]), classes)
    net = merge_splits(net)
    return net.model((size, size, 3)) if pixels else net.model((3, size, size), TensorProto.FLOAT, "input")


def merge_splits(net: Net) -> Net:
    """Splits of splits become one Split of the producer."""
    while True:
        made_by = {o: n for n in net.nodes if n.op_type == "Split" for o in n.output}
        inner = next((n for n in net.nodes if n.op_type == "Split" and n.input[0] in made_by), None)
        if inner is None:
            return net
        outer = made_by[inner.input[0]]
        outputs, sizes = [], []
        for o in outer.output:
            if o == inner.input[0]:
                outputs += inner.output
                sizes += [net.channels[i] for i in inner.output]
            else:
                outputs.append(o)
                sizes.append(net.channels[o])
        net.constants[outer.input[1]] = np.array(sizes, np.int64)
        net.nodes.remove(inner)
        del outer.output[:]
        outer.output.extend(outputs)


def shuffle_free_v1(
    size: int = 224,
    groups: int = 3,
    widths: tuple[int, ...] = (24, 240, 480, 960),
    classes: int = 1000,
    repeats: tuple[int, ...] = (4, 8, 4),
) -> ir.Model:
    """ShuffleNet V1 with its shuffles as block transposes: Split into g*g slices, Concat in transposed order."""
    net = Net(np.random.default_rng(1))
    x = net.conv(net.front(), widths[0], 3, 2, (1, 1, 1, 1))
    x = net.add("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    net.channels[x] = widths[0]
    for index, (stage, units) in enumerate(zip(widths[1:], repeats, strict=True)):
        for unit in range(units):
            bottleneck, first = stage // 4, unit == 0
            y = net.conv(x, bottleneck, group=1 if first and index == 0 else groups)
            block = bottleneck // groups // groups
            # Rows and columns of the block matrix both sum to a group's channels, also where blocks are uneven.
            extra = bottleneck // groups % groups
            sizes = [block + ((i + j) % groups < extra) for i in range(groups) for j in range(groups)]
            slices = net.split(y, sizes)
            y = net.concat([slices[j * groups + i] for i in range(groups) for j in range(groups)])
            y = net.depthwise(y, 3, 2 if first else 1, (1, 1, 1, 1))
            y = net.conv(y, stage - net.channels[x] if first else stage, group=groups, relu=first)
            if first:
                short = net.add("AveragePool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1],
                                count_include_pad=1)  # fmt: skip
                net.channels[short] = net.channels[x]
                x = net.concat([short, y])
            else:
                z = net.add("Add", [x, y])
                net.channels[z] = stage
                x = net.unary("Relu", z)
    net.tail(x, classes)
    return net.model((size, size, 3))


def float_run(model: ir.Model, feeds: dict[str, np.ndarray], extra: list[str] | None = None) -> dict[str, np.ndarray]:
    """Every wanted value (default: the graph's outputs), computed by ONNX Runtime without optimization."""
    proto = ir.to_proto(model)
    wanted = extra if extra is not None else [o.name for o in proto.graph.output]
    if extra is not None:
        del proto.graph.output[:]
        proto.graph.output.extend(helper.make_empty_tensor_value_info(n) for n in wanted)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(wanted, session.run(None, feeds), strict=True))


def quantized(model: ir.Model, images: np.ndarray, keep_float: frozenset[str] = frozenset()) -> ir.Model:
    """A QDQ twin of a lowered graph: ranges are the extremes seen on ``images``; nodes in ``keep_float`` get none."""
    return _Quantizer(model, images, keep_float).run()


class _Quantizer:
    def __init__(self, model: ir.Model, images: np.ndarray, keep_float: frozenset[str]) -> None:
        self.source = ir.to_proto(model)
        self.keep_float = keep_float
        self.colour = np.zeros((1, 3, 1, 1), np.float32)
        graph = self.source.graph
        self.consts = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self.produced = [o for n in graph.node for o in n.output]
        values = float_run(model, {graph.input[0].name: images}, self.produced)
        self.ranges = {k: [min(v.min(), 0.0), max(v.max(), 0.0)] for k, v in values.items() if v.dtype == np.float32}
        if images.dtype == np.float32:
            self.ranges[graph.input[0].name] = [min(images.min(), 0.0), max(images.max(), 0.0)]
        for node in graph.node:
            if node.op_type == "Sub":
                self.colour = self.consts[node.input[1]]
        self._share()
        self.nodes: list[onnx.NodeProto] = []
        self.inits: dict[str, np.ndarray] = {}
        self.floats: dict[str, str] = {}

    def _share(self) -> None:
        """Concat, Split, MaxPool: the widest range of all their tensors, to a fixed point."""
        for _ in range(200):
            before = repr(self.ranges)
            for node in self.source.graph.node:
                names = [n for n in [*node.input, *node.output] if n in self.ranges]
                if node.op_type in SHARED:
                    low = min(self.ranges[n][0] for n in names)
                    high = max(self.ranges[n][1] for n in names)
                    for n in names:
                        self.ranges[n] = [low, high]
            if repr(self.ranges) == before:
                return

    def scale_of(self, name: str) -> tuple[np.float32, np.uint8]:
        if name in ("center", "pixels"):
            return np.float32(1), np.uint8(round(float(self.colour.mean())))
        low, high = self.ranges[name]
        scale = np.float32(max(high - low, 1e-6) / 255)
        return scale, np.uint8(np.clip(round(-low / float(scale)), 0, 255))

    def q(self, name: str, output: str | None = None) -> None:
        scale, zero = self.scale_of(name)
        self.inits |= {f"{name}_s": np.array(scale), f"{name}_z": np.array(zero)}
        target = output or f"{name}_q"
        self.nodes.append(helper.make_node("QuantizeLinear", [name, f"{name}_s", f"{name}_z"], [target]))
        if output is None:
            self.nodes.append(helper.make_node("DequantizeLinear", [target, f"{name}_s", f"{name}_z"], [f"{name}_dq"]))
            self.floats[name] = f"{name}_dq"

    def weights(self, node: onnx.NodeProto, x: str) -> list[str]:
        w, b = self.consts[node.input[1]], self.consts[node.input[2]]
        if x in ("center", "pixels"):  # its integers are pixels less a gray, where the float graph takes a colour off
            b = b - (w * (self.colour - float(self.scale_of(x)[1]))).sum((1, 2, 3))
        flat = np.abs(w).reshape(len(w), -1).max(1)
        scale = np.maximum(flat / INT8_MAX, 1e-9).astype(np.float32)
        shape = (-1,) + (1,) * (w.ndim - 1)
        wq = np.clip(np.round(w / scale.reshape(shape)), -INT8_MAX, INT8_MAX).astype(np.int8)
        bias_scale = (self.scale_of(x)[0] * scale).astype(np.float32)
        bq = np.clip(np.round(b / bias_scale), -(2**31) + 1, 2**31 - 1).astype(np.int32)
        names = []
        for name, ints, s in ((node.input[1], wq, scale), (node.input[2], bq, bias_scale)):
            zero = np.zeros(len(s), ints.dtype)
            self.inits |= {f"{name}_q": ints, f"{name}_qs": s, f"{name}_qz": zero}
            self.nodes.append(
                helper.make_node("DequantizeLinear", [f"{name}_q", f"{name}_qs", f"{name}_qz"], [f"{name}_dq"], axis=0)
            )
            names.append(f"{name}_dq")
        return names

    def run(self) -> ir.Model:
        graph = self.source.graph
        users: dict[str, list[onnx.NodeProto]] = {}
        for n in graph.node:
            for i in n.input:
                users.setdefault(i, []).append(n)
        if graph.input[0].name in self.ranges:
            self.q(graph.input[0].name)
        for node in graph.node:
            if node.op_type == "Cast":
                scale, zero = self.scale_of("pixels")
                self.inits |= {"pixel_s": np.array(scale), "pixel_z": np.array(zero)}
                gray = helper.make_node("DequantizeLinear", [node.input[0], "pixel_s", "pixel_z"], [node.output[0]])
                self.nodes.append(gray)
                continue
            if node.op_type == "Sub":
                self.floats[node.output[0]] = node.input[0]
                continue
            new = onnx.NodeProto()
            new.CopyFrom(node)
            island = node.name in self.keep_float
            for i, name in enumerate(node.input):
                if name in self.consts:
                    self.inits[name] = self.consts[name]
                else:
                    new.input[i] = self.floats.get(name, name)
            if node.op_type in ("Conv", "Gemm") and not island:
                new.input[1:] = self.weights(node, node.input[0])
                del self.inits[node.input[1]], self.inits[node.input[2]]
            self.nodes.append(new)
            for output in node.output:
                if output not in self.ranges or island:
                    continue
                if output == "scores":
                    new.output[0] = "scores_float"
                    self.ranges["scores_float"] = self.ranges["scores"]
                    self.q("scores_float", "scores")
                elif not self.fused(node, users.get(output, [])):
                    self.q(output)
        integer = graph.output[0].name == "scores" and any(n.output[0] == "scores_float" for n in self.nodes)
        kind = TensorProto.UINT8 if integer else TensorProto.FLOAT
        proto = helper.make_model(
            helper.make_graph(
                self.nodes,
                "net",
                list(graph.input),
                [helper.make_tensor_value_info("scores", kind, ["N", "C"])],
                [numpy_helper.from_array(a, n) for n, a in self.inits.items()],
            ),
            opset_imports=[helper.make_opsetid("", 18)],
            ir_version=10,
        )
        return inferred(proto)

    def fused(self, node: onnx.NodeProto, users: list[onnx.NodeProto]) -> bool:
        """One integer kernel: a Conv or Add and the only activation that reads it."""
        return node.op_type in ("Conv", "Add") and len(users) == 1 and users[0].op_type in ("Relu", "Clip")
