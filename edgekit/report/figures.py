"""The report's figures as one JSON object: what ``build --json`` prints beside the keys of its contract."""

from __future__ import annotations

import math
from typing import Any

from edgekit.report import kept
from edgekit.report.flips import confusions, flips
from edgekit.report.measurements import clipped, worst
from edgekit.report.record import Ablation, BuildRecord, LayerNoise, RangeHistogram
from edgekit.report.verdict import judge, main_format, size_ratio, speedup


def to_dict(record: BuildRecord) -> dict[str, Any]:
    """Verdict, calibration, layers, ranges, changed answers, speed, float layers, ablations; null: not measured."""
    verdict = judge(record)
    faster, smaller = speedup(record), size_ratio(record)
    bad = worst(record.layers)
    return {
        "verdict": {
            "tone": verdict.tone,
            "headline": verdict.headline,
            "because": verdict.because,
            "times_faster": None if faster is None else round(faster.ratio, 3),
            "times_smaller": None if smaller is None else round(smaller, 3),
        },
        "method": dict(record.settings),
        "calibration": None if record.calibration is None else record.calibration.to_dict(),
        "layers": [_layer(layer) for layer in record.layers],
        "worst_layer": None if bad is None else bad.name,
        "ranges": [_range(found) for found in record.histograms],
        "changed": _changed(record),
        "speed": None if record.speed is None else record.speed.to_dict(),
        "keep_float": kept.to_dict(record.kept_float),
        "ablations": [_ablation(row) for row in record.ablations],
    }


def _layer(layer: LayerNoise) -> dict[str, Any]:
    return {
        "name": layer.name,
        "op": layer.op,
        "weights_db": _rounded(layer.weights_db),
        "activations_db": _rounded(layer.activations_db),
        "cumulative_db": _rounded(layer.cumulative_db),
        "why": layer.why,
    }


def _range(found: RangeHistogram) -> dict[str, Any]:
    return {
        "name": found.name,
        "range": [float(f"{end:.6g}") for end in found.chosen],
        "seen": [float(f"{end:.6g}") for end in (found.low, found.high)],
        "clipped_percent": float(f"{100 * clipped(found):.3g}"),
        "observer": found.observer,
    }


def _changed(record: BuildRecord) -> dict[str, Any] | None:
    """Pictures that the main model answers otherwise than float, and between which classes."""
    found = record.accuracy
    form = main_format(record)
    if found is None or found.answers is None or form not in found.agreement:
        return None
    flipped = flips(found.answers, form)
    kinds = [flip.kind for flip in flipped]
    return {
        "model": form,
        "pictures": len(flipped),
        **({"lost": kinds.count("lost"), "gained": kinds.count("gained")} if found.models else {}),
        "confusions": [{"float": a, record.precision: b, "pictures": n} for a, b, n in confusions(flipped)],
    }


def _ablation(row: Ablation) -> dict[str, Any]:
    return {
        "method": row.method,
        "drop_pp": _rounded(row.drop_pp),
        "agreement": _rounded(row.agreement),
        "sqnr_db": _rounded(row.sqnr_db),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 3)
