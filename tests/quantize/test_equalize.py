from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgekit.quantize import PLAIN, Scheme, calibrate, quantize
from edgekit.quantize.equalize import apply, atoms
from edgekit.quantize.network import read
from edgekit.quantize.ranges import Rescaling

Run = Callable[..., list[NDArray[Any]]]
Images = NDArray[np.uint8]


def _random_rescaling(model: ir.Model, seed: int, spread: float) -> dict[str, Rescaling]:
    """Random factors and shifts, wherever the rules allow them."""
    network = read(model)
    found = atoms(network)
    random = np.random.default_rng(seed)
    factor = np.append(np.exp(random.uniform(-spread, spread, found.count)), 1.0)
    shift = np.where(found.shiftable, random.normal(size=found.count + 1), 0.0)
    return {
        op.name: Rescaling(
            tuple(factor[found.variable[op.output]].tolist()), tuple(shift[found.variable[op.output]].tolist())
        )
        for op in network.layers
    }


@given(seed=st.integers(0, 1000), spread=st.floats(0, 3))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_factors_and_shifts_leave_the_scores_as_they_were(
    seed: int, spread: float, shuffle_model: ir.Model, swish_model: ir.Model, images: Images, run: Run
) -> None:
    for model in (shuffle_model, swish_model):
        (before,) = run(model, images)
        (after,) = run(apply(model, read(model), _random_rescaling(model, seed, spread)), images)
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4 * np.abs(before).max())


def test_what_may_be_scaled_and_shifted(shuffle_model: ir.Model, swish_model: ir.Model) -> None:
    found = atoms(read(shuffle_model))
    assert (found.variable["scores"] == -1).all() and (found.variable["pixels"] == -1).all()
    # The Add ties the branch to the joined channels, and those to the stem's and the unit's own.
    np.testing.assert_array_equal(found.variable["branch"], found.variable["joined"])
    np.testing.assert_array_equal(found.variable["stem"][:4], found.variable["joined"][:4])
    np.testing.assert_array_equal(found.variable["wide"], found.variable["joined"][4:])
    # A depthwise result is read by a 1×1 convolution: it may move; what passes a ReLU or is padded may not.
    assert found.shiftable[found.variable["depthwise"]].all()
    assert not found.shiftable[found.variable["narrow.relu"]].any()
    found = atoms(read(swish_model))
    assert (found.variable["stem"] == -1).all() and (found.variable["six"] == -1).all()


def test_an_outlier_channel_costs_less_after_equalization(new_graph: Any, images: Images, run: Run) -> None:
    graph = new_graph(5)
    x = graph.op("Relu", [graph.conv("pixels", "stem", (8, 3, 3, 3), stride=2, gain=0.02)], "stem.relu")
    narrow = graph.conv(x, "narrow", (8, 8, 1, 1))
    x = graph.conv(graph.op("Relu", [narrow], "narrow.relu"), "depthwise", (8, 1, 3, 3), group=8)
    model = graph.classify(graph.op("Relu", [graph.conv(x, "wide", (8, 8, 1, 1))], "wide.relu"), 8)
    # One channel 60 times as large, and read with a weight that is 60 times as small: the same network.
    for constant in model.graph.initializers.values():
        array = constant.const_value.numpy().copy()  # type: ignore[union-attr]
        if constant.name in ("narrow.W", "narrow.B"):
            array[2] *= 60
        elif constant.name == "depthwise.W":
            array[2] /= 60
        constant.const_value = ir.tensor(array, name=constant.name)
    (real,) = run(model, images)
    noise = {}
    for equalize in (False, True):
        scheme = Scheme.from_dict({**PLAIN.to_dict(), "equalize": equalize})
        made = quantize(model, calibrate(model, images, scheme, threads=1), scheme)
        assert made.output is not None
        noise[equalize] = np.square(made.output.dequantize(run(made.model, images)[0]) - real).mean()
    assert noise[True] < 0.25 * noise[False]
