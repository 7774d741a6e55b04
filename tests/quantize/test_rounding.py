import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.quantize import moments
from edgekit.quantize.network import Op
from edgekit.quantize.rounding import nearest, quadratic_error, round_columns, round_rows


def _problem(seed: int, groups: int, rows: int, columns: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(groups, columns, columns)) * np.exp(random.normal(size=(groups, columns, 1)))
    hessian = torch.from_numpy(mixing @ mixing.transpose(0, 2, 1) + 0.01 * np.eye(columns))
    weight = torch.from_numpy(random.normal(size=(groups, rows, columns)))
    return weight, hessian, weight.abs().amax(-1) / 127


@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 6), st.sampled_from([3, 9, 60, 120]))
@settings(max_examples=25, deadline=None)
def test_errors_are_no_larger_than_with_nearest_rounding(seed: int, groups: int, rows: int, columns: int) -> None:
    weight, hessian, scale = _problem(seed, groups, rows, columns)
    integers = round_rows(weight, hessian, scale, 127)
    assert integers.abs().max() <= 127
    assert torch.equal(integers, integers.round())
    error = quadratic_error(integers * scale[:, :, None] - weight, hessian).sum()
    plain = quadratic_error(nearest(weight, scale, 127) * scale[:, :, None] - weight, hessian).sum()
    assert error <= plain
    if columns >= 60:
        assert error < 0.8 * plain


def test_without_correlation_it_is_nearest_rounding() -> None:
    weight, _, scale = _problem(1, 2, 4, 50)
    eye = torch.eye(50, dtype=torch.float64).expand(2, 50, 50)
    assert torch.equal(round_columns(weight, eye, scale, 127), nearest(weight, scale, 127))


def _op(kind: str, weight: np.ndarray, **attributes: object) -> Op:
    return Op("layer", kind, ("x",), ("y",), attributes, {"weight": weight}, ("x", "weight"))


def test_moments_are_those_of_the_patches_that_a_convolution_reads() -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 4, 9, 7)).astype(np.float32)) + 100
    op = _op("Conv", np.zeros((6, 2, 3, 3), np.float32), group=2, pads=(1, 1, 1, 1), strides=(2, 2))
    found = moments.measure(op, x, 5, 4)
    for group in range(2):
        unfolded = torch.nn.functional.unfold(x[:, 2 * group : 2 * group + 2], 3, padding=1, stride=2)
        patches = unfolded.permute(0, 2, 1).reshape(-1, 18).numpy().astype(np.float64)
        np.testing.assert_allclose(found[group].numpy(), np.cov(patches.T, bias=True), rtol=1e-4, atol=1e-2)


def test_moments_of_a_classifier() -> None:
    x = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    found = moments.measure(_op("Gemm", np.zeros((3, 6), np.float32)), torch.from_numpy(x), 1, 1)
    np.testing.assert_allclose(found[0].numpy(), np.cov(x.T, bias=True), rtol=1e-4, atol=1e-6)


def test_positions_are_bounded() -> None:
    for batch, size in ((1, 112), (256, 112), (256, 127), (16, 28)):
        step = moments.grid_step(batch, size, size)
        assert batch * (-(-size // step)) ** 2 <= 2.5 * moments.POSITIONS or step == 1
