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


def write_bundle(path: Path, target: str = "rpi4", size: int = 8, with_float: bool = True) -> Path:
    """A bundle whose ``model.onnx`` answers red, green or blue for a picture of that colour."""
    import numpy as np

    from edgekit import bundle, config
    from edgekit.contracts import ImageContract
    from edgekit.labels import Label

    model = write_onnx(path.parent / "tiny.onnx", size).read_bytes()
    inputs = np.zeros((8, size, size, 3), np.uint8)
    entry = bundle.ModelEntry("model.onnx", "onnx", "fp32", bundle.Quantization("float32"), ops={"Flatten": 1})
    bundle.write(
        path,
        bundle.Parts(
            models=((entry, model),),
            labels=tuple(Label(None, name) for name in ("red", "green", "blue")),
            golden=bundle.Golden(inputs, np.full(8, -1, np.int32), ()),
            image=ImageContract(size, size, size, "linear"),
            precision="fp32",
            target=config.load_target(target).to_dict(),
            checkpoint={"family": "tiny", "sha256": "0" * 64},
            tools={"edgekit": "0"},
            engines={},
            extra={"float.onnx": ("reference", model)} if with_float else {},
        ),
    )
    return path
