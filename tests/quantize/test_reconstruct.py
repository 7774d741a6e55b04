from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from edgekit.quantize import PLAIN, Scheme, calibrate, quantize
from edgekit.quantize import reconstruct as walking
from edgekit.quantize.analysis import LayerError
from edgekit.quantize.interpreter import forward
from edgekit.quantize.network import read

Run = Callable[..., list[NDArray[Any]]]
Images = NDArray[np.uint8]


@pytest.mark.parametrize("name", ["shuffle_model", "swish_model"])
def test_torch_and_onnx_runtime_agree_on_the_float_graph(
    name: str, images: Images, run: Run, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(name)
    np.testing.assert_allclose(forward(read(model), images).numpy(), run(model, images)[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["shuffle_model", "swish_model"])
@pytest.mark.parametrize(
    "kept", [(), ("depthwise", "second"), ("pool", "mean"), ("stem", "pool", "half", "narrow", "joined", "branch")]
)
def test_the_walk_sees_the_integers_that_onnx_runtime_computes(
    name: str,
    kept: tuple[str, ...],
    images: Images,
    run: Run,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To one unit: where the walk is wrong, every correction that it makes is wrong too."""
    model = request.getfixturevalue(name)
    layers = {op.name for op in read(model).ops}
    scheme = Scheme(observer="minmax", keep_float=tuple(layer for layer in kept if layer in layers))
    seen: dict[str, NDArray[np.uint8]] = {}
    forget = walking._Walk.drop

    def drop(walk: Any, value: str) -> None:
        if value in walk.integers and value in walk.affine:
            seen[value] = walk.integers[value].numpy().copy()
        forget(walk, value)

    monkeypatch.setattr(walking._Walk, "drop", drop)
    made = quantize(model, calibrate(model, images, scheme, threads=1), scheme, images, threads=1)
    written = {value.name for node in made.model.graph for value in node.outputs}
    names = [f"{value}.q" for value in seen if f"{value}.q" in written]
    assert len(names) >= (8 if len(scheme.keep_float) < 4 else 3)
    # Around a float layer ONNX Runtime's optimizer rounds weights by itself: compare the graph as written.
    for optimize in (False,) if scheme.keep_float else (False, True):
        for value, got in zip(names, run(made.model, images, names, optimize), strict=True):
            difference = np.abs(got.astype(int) - seen[value[:-2]].astype(int))
            # Averages of four integers often end in halves, which are rounded either way; what follows inherits that.
            # An Add of two such values adds their differences too.
            pooled = value.split(".")[0] in ("mean", "pooled", "features", "logits", "scores", "sum")
            assert difference.max() <= (2 if pooled else 1), value
            assert (difference > 0).mean() < (0.2 if pooled else 0.01), value


def test_bias_correction_makes_the_means_agree(shuffle_model: ir.Model, images: Images, run: Run) -> None:
    (real,) = run(shuffle_model, images)
    shift = {}
    for correct in (False, True):
        scheme = Scheme.from_dict({**PLAIN.to_dict(), "bias_correction": correct, "weight_limit": 7})
        made = quantize(shuffle_model, calibrate(shuffle_model, images, scheme, threads=1), scheme, images, threads=1)
        assert made.output is not None
        shift[correct] = np.abs((made.output.dequantize(run(made.model, images)[0]) - real).mean(0)).max()
    assert shift[True] < 0.3 * shift[False]
    assert shift[True] < made.output.scale


def test_every_method_on_beats_the_plain_recipe_on_pictures_not_seen(
    shuffle_model: ir.Model, images: Images, run: Run
) -> None:
    calibration, held_out = images[:32], images[32:]
    (real,) = run(shuffle_model, held_out)
    noise = {}
    for limit, scheme in ((7, PLAIN), (7, Scheme())):
        scheme = Scheme.from_dict({**scheme.to_dict(), "weight_limit": limit})
        made = quantize(
            shuffle_model, calibrate(shuffle_model, calibration, scheme, threads=1), scheme, calibration, threads=1
        )
        assert made.output is not None
        noise[scheme.equalize] = np.square(made.output.dequantize(run(made.model, held_out)[0]) - real).mean()
    assert noise[True] < 0.6 * noise[False]


def test_figures_of_every_layer(shuffle_model: ir.Model, images: Images) -> None:
    scheme = Scheme(keep_float=("wide",))
    made = quantize(shuffle_model, calibrate(shuffle_model, images, scheme, threads=1), scheme, images, threads=1)
    assert [error.name for error in made.errors] == ["stem", "narrow", "depthwise", "branch", "sum", "fc"]
    for error in made.errors:
        assert isinstance(error, LayerError)
        assert error.activations_db is not None
        assert 20 < error.cumulative_db <= error.activations_db + 1
        assert (error.weights_db is None) == (error.name == "sum")


def test_wide_networks_use_fewer_images(shuffle_model: ir.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    network = read(shuffle_model)
    assert walking.images_for(network, 1000, 256) == 128
    assert walking.images_for(network, 40, 256) == 40
    monkeypatch.setattr(walking, "_BUDGET_BYTES", 1_000_000)
    assert 1 <= walking.images_for(network, 1000, 256) < 100


def test_progress_is_told(shuffle_model: ir.Model, images: Images) -> None:
    told: list[tuple[int, int]] = []
    ranges = calibrate(shuffle_model, images, PLAIN, threads=1, progress=lambda done, of: told.append((done, of)))
    assert told[-1] == (48, 48)
    quantize(shuffle_model, ranges, PLAIN, images, threads=1, progress=lambda done, of: told.append((done, of)))
    assert told[-1][0] == told[-1][1] > 10


@pytest.mark.parametrize("kept", ["fc", "depthwise", "wide"])
def test_a_float_layer_makes_up_for_the_integers_before_it(
    kept: str, shuffle_model: ir.Model, images: Images, run: Run
) -> None:
    """Its mean is the float network's, as an integer layer's is: nothing after the last layer could correct it."""
    (value,) = [op.output for op in read(shuffle_model).ops if op.name == kept]
    (real,) = run(shuffle_model, images, [value])
    apart = []
    for corrected in (False, True):
        scheme = Scheme(observer="minmax", equalize=False, rounding="nearest", keep_float=(kept,))
        scheme = Scheme.from_dict({**scheme.to_dict(), "bias_correction": corrected})
        made = quantize(shuffle_model, calibrate(shuffle_model, images, scheme, threads=1), scheme, images, threads=1)
        (got,) = run(made.model, images, [value], optimize=False)
        over = tuple(d for d in range(real.ndim) if d != 1)
        apart.append(float(np.abs((got - real).mean(over)).max()))
    assert apart[1] < 0.25 * apart[0], apart


def test_a_float_layer_on_exact_pixels_keeps_its_own_bias(shuffle_model: ir.Model, images: Images) -> None:
    scheme = Scheme(keep_float=("stem",), equalize=False)
    made = quantize(shuffle_model, calibrate(shuffle_model, images, scheme, threads=1), scheme, images, threads=1)
    constants = {name: value.const_value for name, value in made.model.graph.initializers.items()}
    (own,) = [op.bias for op in read(shuffle_model).layers if op.name == "stem"]
    np.testing.assert_array_equal(constants["stem.bias"].numpy(), own)  # type: ignore[union-attr]
