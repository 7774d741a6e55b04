"""Channels computed twice: the same network in real numbers, less noise in integers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from edgekit.errors import CalibrationError
from edgekit.quantize import PLAIN, Ranges, Scheme, calibrate, points, quantize, splitting
from edgekit.quantize.affine import Affine
from edgekit.quantize.network import read

Images = NDArray[np.uint8]


def _model(new_graph: Callable[[int], Any], *, groups: int = 1, quiet: bool = True) -> ir.Model:
    """A stem, a depthwise block whose channels 1 and 4 alone matter (with ``quiet``), and a classifier."""
    g = new_graph(11)
    x = g.op("Relu", [g.conv("pixels", "stem", (6, 3, 3, 3), stride=2, gain=0.02)], "stem.relu")
    x = g.op("Relu", [g.conv(x, "narrow", (6, 6, 1, 1))], "narrow.relu")
    x = g.conv(x, "depthwise", (6, 1, 3, 3), group=6)
    x = g.op("Relu", [g.conv(x, "wide", (8, 6 // groups, 1, 1), group=groups)], "wide.relu")
    model: ir.Model = g.classify(x, 8)
    weight = model.graph.initializers["wide.W"]
    array = weight.const_value.numpy().copy()  # type: ignore[union-attr]
    if quiet:
        array[:, [c for c in range(array.shape[1]) if c not in (1, 4 % (6 // groups))]] *= 1e-3
    weight.const_value = ir.tensor(array, name="wide.W")
    return model


def _parts(model: ir.Model, images: Images) -> tuple[Any, Any, Mapping[str, Affine], Ranges]:
    from edgekit.quantize.quantizer import _affine

    ranges = calibrate(model, images, PLAIN, threads=1)
    network = read(model)
    where = points.find(network)
    return network, where, _affine(network, where, ranges.tensors), ranges


def test_chains_are_those_that_nobody_else_sees(new_graph: Callable[[int], Any], shuffle_model: ir.Model) -> None:
    network = read(_model(new_graph))
    (stem, chain) = splitting.chains(network, points.find(network))
    assert (stem.maker.name, stem.depthwise, stem.reader.name) == ("stem", (), "narrow")
    assert [op.name for op in chain.layers] == ["narrow", "depthwise"]
    assert chain.reader.name == "wide"
    kept = points.find(network, ("depthwise",))
    assert [chain.maker.name for chain in splitting.chains(network, kept)] == ["stem"]
    shuffled = read(shuffle_model)  # its stem is pooled and split, its last layers are added: one block remains
    assert [chain.maker.name for chain in splitting.chains(shuffled, points.find(shuffled))] == ["narrow"]


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("order", [(0, 1, 2, 1, 1, 3, 4, 5, 4, 4), (0, 1, 2, 0, 3, 4, 5, 4)])
def test_the_same_scores_in_real_numbers(
    new_graph: Callable[[int], Any],
    images: Images,
    run: Callable[..., list[NDArray[Any]]],
    groups: int,
    order: tuple[int, ...],
) -> None:
    model = _model(new_graph, groups=groups, quiet=False)
    network, where, affine, _ = _parts(model, images)
    wider = splitting.apply(model, network, where, affine, {"narrow": order})
    assert read(wider).channels["depthwise"] == len(order)
    assert read(model).channels["depthwise"] == 6  # left as it was
    want, got = run(model, images)[0], run(wider, images)[0]
    # Equal but for a quarter of a step next to a ReLU's corner, which the copies' mean rounds off.
    step = affine["narrow.relu"].scale
    assert np.abs(got - want).max() < 0.25 * step * np.abs(network.producer["wide"].weight).sum()
    assert np.corrcoef(got.ravel(), want.ravel())[0, 1] > 0.9999


def test_the_channels_that_matter_get_copies(new_graph: Callable[[int], Any], images: Images) -> None:
    model = _model(new_graph)
    network, where, affine, _ = _parts(model, images)
    influence = {name: np.full(network.channels[name], 1e-9) for name in where.group if name in network.channels}
    influence["depthwise"][[1, 4]] = 1.0
    found = splitting.choose(network, where, affine, influence, signal=1e-6)
    assert set(found.orders) == {"narrow"}
    assert sorted(set(found.orders["narrow"][6:])) == [1, 4]
    assert found.remaining["depthwise"] < 0.3
    assert found.remaining["narrow.relu"] == pytest.approx(1, abs=0.5)
    # Where the scores are clean already, nothing is worth its time.
    assert splitting.choose(network, where, affine, influence, signal=1e9).orders == {}


def test_integers_are_closer_to_float(
    new_graph: Callable[[int], Any], images: Images, run: Callable[..., list[NDArray[Any]]]
) -> None:
    model = _model(new_graph)
    scheme = replace(PLAIN, bias_correction=True)
    ranges = calibrate(model, images, scheme, threads=1)
    split = replace(ranges, splits={"narrow": (0, 1, 2, 3, 4, 5, 1, 1, 1, 4, 4, 4)})
    real = run(model, images)[0]
    noise = {}
    for name, table in (("plain", ranges), ("split", split)):
        made = quantize(model, table, scheme, images, threads=1)
        scores = run(made.model, images, ["wide.relu"], optimize=False)[0]
        noise[name] = float(np.square(scores - run(model, images, ["wide.relu"])[0]).mean())
        assert made.output is not None and np.isfinite(real).all()
    assert noise["split"] < noise["plain"]


def test_a_table_keeps_its_splits_and_a_strange_one_is_refused(new_graph: Callable[[int], Any], images: Images) -> None:
    model = _model(new_graph)
    ranges = replace(calibrate(model, images, PLAIN, threads=1), splits={"narrow": (0, 1, 2, 3, 4, 5, 1)})
    assert Ranges.from_json(ranges.to_json()) == ranges
    for order in ((0, 1, 2, 3, 4, 6), (0, 1, 2), (0, 1, 2, 3, 4, -1)):
        with pytest.raises(CalibrationError, match="narrow"):
            quantize(model, replace(ranges, splits={"narrow": order}), Scheme(), images, threads=1)
