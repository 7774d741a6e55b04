"""The accuracy gate: a yes or no on an evaluation, with the sentence that a person reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgekit.config.target import Gate
from edgekit.errors import AccuracyGateFailed
from edgekit.evaluate.accuracy import Accuracy

HINT = (
    "give more and more varied calibration pictures, keep sensitive layers in float with keep_float: auto, or build "
    "with --precision fp16"
)


@dataclass(frozen=True, slots=True)
class Condition:
    """One judged condition: ``sentence`` says what was measured, what was asked and whether it holds."""

    model: str
    name: str
    measured: float
    limit: float
    passed: bool
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "name": self.name,
            "measured": round(self.measured, 3) if abs(self.measured) != float("inf") else None,
            "limit": self.limit,
            "passed": self.passed,
            "sentence": self.sentence,
        }


@dataclass(frozen=True, slots=True)
class GateResult:
    """``passed`` is True only if something was judged and every condition holds; ``sentence`` sums it up."""

    passed: bool
    judged: tuple[Condition, ...]
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        return {
            "passed": self.passed,
            "sentence": self.sentence,
            "conditions": [condition.to_dict() for condition in self.judged],
        }

    def require(self) -> None:
        """Raises:
        AccuracyGateFailed: the gate is missed.
        """
        if not self.passed:
            raise AccuracyGateFailed(self.sentence, hint=HINT)


def judge(
    accuracy: Accuracy, gate: Gate, models: Sequence[str] = ("onnx", "tflite"), *, confident: bool = False
) -> GateResult:
    """Holds every quantized model that was measured against a profile's gate.

    Every figure of the gate that is not null and was measured is judged: ``max_drop_pp`` needs labelled pictures,
    agreement and SQNR any. A gate of which nothing could be judged is missed: what was not measured must not ship as
    if it had been.

    Args:
        models: those to judge, as far as they were measured.
        confident: the drop's whole 95 % interval must stay within ``max_drop_pp``, so that too few pictures fail too;
            otherwise the measured drop decides, and the interval is told beside it.
    """
    judged: list[Condition] = []
    for model in models:
        if gate.max_drop_pp is not None and model in accuracy.drop_pp:
            judged.append(_drop(accuracy, model, gate.max_drop_pp, confident))
        if gate.min_agreement is not None and model in accuracy.agreement:
            least = 100 * gate.min_agreement
            judged.append(_least(model, "agreement", accuracy.agreement[model], least, " %"))
        if gate.min_sqnr_db is not None and model in accuracy.sqnr_db:
            judged.append(_least(model, "SQNR", accuracy.sqnr_db[model], gate.min_sqnr_db, " dB"))
    if not judged:
        if gate.max_drop_pp is None and gate.min_agreement is None and gate.min_sqnr_db is None:
            return GateResult(True, (), "no accuracy gate was asked for")
        why = "no labelled pictures" if accuracy.agreement else "no float model to compare with"
        return GateResult(False, (), f"the accuracy gate could not be judged: {why}")
    failed = [condition for condition in judged if not condition.passed]
    return GateResult(not failed, tuple(judged), "; ".join(condition.sentence for condition in failed or judged))


def _drop(accuracy: Accuracy, model: str, limit: float, confident: bool) -> Condition:
    drop, (low, high) = accuracy.drop_pp[model], accuracy.drop_ci95[model]
    measured = high if confident else drop
    asked = f"at most {limit:g} pp{' with 95 % confidence' if confident else ''}"
    said = f"{model} loses {drop:.2f} pp (95 % interval {low:.2f} to {high:.2f}, {accuracy.n} pictures)"
    passed = measured <= limit
    return Condition(model, "drop_pp", measured, limit, passed, _sentence(said, asked, passed))


def _least(model: str, name: str, measured: float, limit: float, unit: str) -> Condition:
    passed = measured >= limit
    said = f"{model} keeps {measured:.2f}{unit} {name} with the float model"
    return Condition(model, name, measured, limit, passed, _sentence(said, f"at least {limit:g}{unit}", passed))


def _sentence(said: str, asked: str, passed: bool) -> str:
    return f"{said}: {'within' if passed else 'misses'} the gate of {asked}"
