from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.quantize import QuantizedGraph, Scheme, calibrate, quantize
from edgekit.quantize.sensitivity import keep_float, rank

Run = Callable[..., list[NDArray[Any]]]
Images = NDArray[np.uint8]

# No equalization, which would cure the outlier that the tests plant.
_SCHEME = Scheme(equalize=False, observer="minmax", rounding="nearest")


def _with_outlier(model: ir.Model) -> ir.Model:
    """The depthwise layer's input and weights with one channel 300 times as large and as small: the same network."""
    for constant in model.graph.initializers.values():
        array = np.array(constant.const_value.numpy())  # type: ignore[union-attr]
        if constant.name in ("narrow.W", "narrow.B"):
            array[0] *= 300
        elif constant.name == "depthwise.W":
            array[0] /= 300
        constant.const_value = ir.tensor(array, name=constant.name)
    return model


def test_the_outlier_is_found_and_its_neighbours_named(shuffle_model: ir.Model, images: Images) -> None:
    model = _with_outlier(shuffle_model)
    made = quantize(model, calibrate(model, images, _SCHEME, threads=1), _SCHEME, images, threads=1)
    worst = rank(model, made, images, threads=1)[0]
    assert worst.value == "narrow.relu"
    assert worst.layers == ("narrow", "depthwise")
    assert worst.share > 0.5


def test_the_fewest_layers_that_meet_the_gate(shuffle_model: ir.Model, images: Images, run: Run) -> None:
    model = _with_outlier(shuffle_model)
    (real,) = run(model, images)
    ranges = calibrate(model, images, _SCHEME, threads=1)

    def noise(made: QuantizedGraph) -> float:
        (raw,) = run(made.model, images)
        got = raw if made.output is None else made.output.dequantize(raw)
        return float(np.square(got - real).mean())

    plain = noise(quantize(model, ranges, _SCHEME, images, threads=1))
    made, kept = keep_float(model, ranges, _SCHEME, images, lambda q: noise(q) < 0.5 * plain, threads=1)
    assert [suspect.value for suspect in kept] == ["narrow.relu"]
    assert set(made.kept_float) == {"narrow", "narrow.relu", "depthwise"}
    made, kept = keep_float(model, ranges, _SCHEME, images, lambda q: True, threads=1)
    assert kept == () == made.kept_float
    made, kept = keep_float(model, ranges, _SCHEME, images, lambda q: False, most=2, threads=1)
    assert len(kept) == 2
