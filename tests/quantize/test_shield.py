from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from edgekit.quantize import PLAIN, Scheme, calibrate, quantize, shield_float_layers

Run = Callable[..., list[NDArray[Any]]]


@pytest.mark.parametrize("kept", ["stem", "depthwise", "wide", "fc"])
def test_onnx_runtime_leaves_float_layers_alone(
    shuffle_model: ir.Model, images: NDArray[np.uint8], run: Run, kept: str
) -> None:
    scheme = Scheme.from_dict({**PLAIN.to_dict(), "keep_float": [kept]})
    made = quantize(shuffle_model, calibrate(shuffle_model, images, scheme, threads=1), scheme, threads=1).model
    written = run(made, images, optimize=False)[0]
    shielded = shield_float_layers(made)
    np.testing.assert_array_equal(run(shielded, images, optimize=False)[0], written)
    value = "scores" if kept == "fc" else f"{kept}.relu" if kept in ("stem", "wide") else kept
    as_written, optimized = (run(shielded, images, [value], optimize=flag)[0] for flag in (False, True))
    if kept in ("stem", "depthwise"):  # with the same integers in front, float arithmetic gives the same numbers
        np.testing.assert_allclose(optimized, as_written, atol=1e-4 * np.abs(as_written).max())
    assert sum(node.op_type == "Clip" for node in shielded.graph) == 1
    assert not any(node.op_type == "Clip" for node in made.graph)


def test_a_graph_without_float_layers_stays_as_it_is(shuffle_model: ir.Model, images: NDArray[np.uint8]) -> None:
    made = quantize(shuffle_model, calibrate(shuffle_model, images, PLAIN, threads=1), PLAIN, threads=1).model
    assert ir.to_proto(shield_float_layers(made)).SerializeToString() == ir.to_proto(made).SerializeToString()
