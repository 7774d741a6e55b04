import json
from pathlib import Path

import pytest

from edgekit.errors import CalibrationError, ConfigError
from edgekit.quantize import Ranges, Scheme, TensorRange
from edgekit.quantize.ranges import Rescaling

_RANGES = Ranges(
    {"conv.relu": TensorRange(0.0, 0.1 + 0.2, 0.0, 7.0, "mse", (3, 0, 1))},
    12,
    "ab" * 32,
    {"conv": Rescaling((1.0, 0.3333333432674408), (0.0, -0.125))},
)


def test_json_keeps_every_bit() -> None:
    assert Ranges.from_json(_RANGES.to_json()) == _RANGES


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "null",
        '{"format": "edgekit.ranges/9"}',
        json.dumps({**json.loads(_RANGES.to_json()), "tensors": {"a": {"low": 2, "high": 1}}}),
        json.dumps({**json.loads(_RANGES.to_json()), "tensors": [1]}),
        _RANGES.to_json().replace('"low":0.0', '"low":NaN'),
        _RANGES.to_json().replace("0.3333333432674408", "-1"),
        _RANGES.to_json().replace("-0.125", "Infinity"),
    ],
)
def test_anything_else_is_refused_by_name(text: str) -> None:
    with pytest.raises(CalibrationError, match=r"r\.json: not a table"):
        Ranges.from_json(text, "r.json")


def test_a_missing_or_binary_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"absent\.json"):
        Ranges.load(tmp_path / "absent.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CalibrationError, match=r"binary\.json"):
        Ranges.load(tmp_path / "binary.json")


def test_scheme_says_everything_that_is_wrong_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Scheme(observer="best", rounding="up", weight_limit=300, images=0)  # type: ignore[arg-type]
    assert len(caught.value.issues) == 4
    assert Scheme.from_dict(Scheme(keep_float=("a",)).to_dict()) == Scheme(keep_float=("a",))
