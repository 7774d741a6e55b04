"""What a build is asked for: one frozen value, from deploy.yaml, a target profile and flags in one visible cascade."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from edgekit import config
from edgekit.config import Deploy, Precision, Target
from edgekit.errors import UsageError
from edgekit.resources import shipped

DEMO = "demo"


@dataclass(frozen=True, slots=True)
class Order:
    """One bundle to build.

    ``calibration`` and ``evaluation`` are folders of pictures, or the YAML manifest of a set; ``labels`` a labels file.
    ``output`` is the bundle's own directory. ``emulate``: prove and count on the target's emulated core before that;
    ``ablate``: measure what each quantization method is worth.
    """

    checkpoint: str
    target: Target
    precision: Precision
    output: Path
    labels: Path | None = None
    calibration: Path | None = None
    evaluation: Path | None = None
    ranges: Path | None = None
    keep_stages: bool = False
    emulate: bool = False
    ablate: bool = False
    notes: tuple[str, ...] = ()


def place(
    target: str,
    *,
    deploy: Path | None = None,
    checkpoint: str | None = None,
    calibration: Path | None = None,
    labels: Path | None = None,
    evaluation: Path | None = None,
    ranges: Path | None = None,
    precision: Precision | None = None,
    output: Path | None = None,
    keep_stages: bool = False,
    emulate: bool = False,
    ablate: bool = False,
) -> Order:
    """Lays flags over deploy.yaml over the target profile over defaults.

    Args:
        target: a profile's name, or the path of one.
        deploy: the deployment file; None takes ``deploy.yaml`` of the current directory where there is one, else the
            embedded demo.
        output: the folder that gets one bundle per target.

    Raises:
        ConfigError: the deployment or the profile is not valid, or there is no such target.
    """
    deployment = _deployment(deploy)
    chosen = checkpoint or deployment.checkpoint
    own = checkpoint is None or checkpoint == deployment.checkpoint
    # A deployment's gates are for its own checkpoint; another is judged as the target says.
    profile = config.deploy_target(deployment, target) if own else config.load_target(target)
    notes = []
    if labels is None and own and deployment.labels:
        labels = Path(deployment.labels)
    if evaluation is None and own and deployment.evaluation:
        evaluation = Path(deployment.evaluation)
    if calibration is None and deployment.calibration:
        calibration = Path(deployment.calibration)
        if not own:
            notes.append(
                f"calibrated on {calibration}, the pictures of {deployment.path or 'the demo'}: "
                "give --calibration with pictures like those that this network will see"
            )
    precise = precision or deployment.precision or profile.precision
    profile = replace(profile, precision=precise)
    return Order(
        checkpoint=chosen,
        target=profile,
        precision=precise,
        output=Path(output or deployment.output) / profile.name,
        labels=labels,
        calibration=calibration,
        evaluation=evaluation,
        ranges=ranges,
        keep_stages=keep_stages,
        emulate=emulate,
        ablate=ablate,
        notes=tuple(notes),
    )


def _deployment(path: Path | None) -> Deploy:
    if path is None and Path("deploy.yaml").is_file():
        path = Path("deploy.yaml")
    if path is not None:
        return config.load_deploy(path)
    return Deploy(
        checkpoint=DEMO,
        calibration=str(shipped("calibration") / "demo" / "manifest.yaml"),
        targets=tuple(config.list_targets()),
        output="build",
    )


def require_pictures(order: Order) -> Path:
    """The calibration set of an order that needs one.

    Raises:
        UsageError: none was given.
    """
    if order.calibration is None:
        raise UsageError(
            f"{order.precision} needs pictures to calibrate on, and none were given",
            hint="--calibration DIR, or `calibration:` in deploy.yaml",
        )
    return order.calibration
