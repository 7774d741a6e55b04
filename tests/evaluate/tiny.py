"""The smallest model that an engine takes: uint8 ``[N, H, W, 3]`` in, the mean of each colour plus a bias out."""

from __future__ import annotations

from pathlib import Path


def write_onnx(path: Path, size: int = 8, batch: str | int = "N") -> Path:
    """Scores = channel means (R, G, B), float32 ``[N, 3]``."""
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [
            helper.make_node("Transpose", ["image"], ["planes"], "transpose", perm=[0, 3, 1, 2]),
            helper.make_node("Cast", ["planes"], ["real"], "cast", to=TensorProto.FLOAT),
            helper.make_node("GlobalAveragePool", ["real"], ["means"], "pool"),
            helper.make_node("Flatten", ["means"], ["scores"], "flatten", axis=1),
        ],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [batch, size, size, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path
