"""Channels of zeros: same scores, channel counts that kernels like, and no operator more."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgekit.graph.align import align
from edgekit.graph.rebuild import rebuild
from edgekit.graph.trace import trace


def rebuilt(nets: Any, widths: tuple[int, ...], aligned: bool) -> ir.Model:
    model = nets.shuffle_free_v2(size=32, widths=widths, repeats=(3, 4, 2), classes=5, pixels=False)
    network = trace(model, 32, 32)
    return rebuild(align(network) if aligned else network, pixels=False)


def convolutions(model: ir.Model) -> list[tuple[int, int, bool]]:
    """(input channels, output channels, depthwise) of each."""
    found = []
    for node in model.graph:
        if node.op_type == "Conv":
            out, into = node.inputs[1].shape[:2]
            group = node.attributes["group"].as_int() if "group" in node.attributes else 1
            found.append((int(into) * group, int(out), group > 1))
    return found


@pytest.mark.parametrize("widths", [(24, 116, 232, 464, 64), (24, 48, 96, 192, 64), (10, 44, 90, 120, 50)])
def test_zero_channels_change_no_score(nets: Any, widths: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(0, 1, (1, 3, 32, 32)).astype(np.float32)
    plain, aligned = rebuilt(nets, widths, False), rebuilt(nets, widths, True)
    want, got = (nets.float_run(m, {"input": x})["scores"] for m in (plain, aligned))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6 * np.abs(want).max())
    count = [Counter(n.op_type for n in m.graph) for m in (plain, aligned)]
    assert count[0] == count[1], "aligning adds no operator"


def test_inside_a_unit_channels_are_multiples_of_16(nets: Any) -> None:
    shapes = convolutions(rebuilt(nets, (24, 116, 232, 464, 64), True))
    units = [into for into, out, depthwise in shapes if depthwise and into not in (24, 116, 232)]
    assert set(units) == {64, 128, 240}
    plain = convolutions(rebuilt(nets, (24, 116, 232, 464, 64), False))
    odd = [sum(o % 4 != 0 or i % 4 != 0 for i, o, d in s if i > 3 and not d) for s in (plain, shapes)]
    assert odd[0] > 3 * odd[1]


def test_widths_that_fit_already_are_left_alone(nets: Any) -> None:
    widths = (16, 64, 128, 256, 64)
    assert convolutions(rebuilt(nets, widths, True)) == convolutions(rebuilt(nets, widths, False))
