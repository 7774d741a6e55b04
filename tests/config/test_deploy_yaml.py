"""deploy.yaml: paths, names of targets, gates laid over a profile's."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.config import Deploy, check, deploy_target, load_deploy
from edgekit.errors import ConfigError


def deploy(folder: Path, text: str) -> Path:
    path = folder / "deploy.yaml"
    path.write_text(text)
    return path


def test_the_committed_deployment_builds_the_demo(project_root: Path) -> None:
    committed = load_deploy(project_root / "deploy.yaml")
    assert committed.checkpoint == "demo" and committed.labels is None
    assert committed.calibration == str(project_root / "calibration" / "demo" / "manifest.yaml")
    assert committed.output == str(project_root / "build")
    assert "rpi4" in committed.targets
    for name in committed.targets:
        assert deploy_target(committed, name).name == name


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site").mkdir()
    text = (
        "checkpoint: w/net.pth\nlabels: ../labels.txt\ncalibration: /abs/pictures\nevaluation: val\n"
        "targets: [rpi4]\noutput: out\nrun: {telemetry: log/x.jsonl, camera: clip.mp4}\n"
    )
    path = deploy(tmp_path / "site", text)
    monkeypatch.chdir(tmp_path)
    for given in (path, Path("site/deploy.yaml"), "site/deploy.yaml"):
        loaded = load_deploy(given)
        assert loaded.checkpoint == str(tmp_path / "site" / "w" / "net.pth")
        assert loaded.labels == str(tmp_path / "labels.txt")
        assert loaded.calibration == "/abs/pictures"
        assert loaded.evaluation == str(tmp_path / "site" / "val")
        assert loaded.output == str(tmp_path / "site" / "out")
        assert loaded.run.telemetry == str(tmp_path / "site" / "log" / "x.jsonl")
        assert loaded.path == path


@pytest.mark.parametrize(
    ("given", "is_path"),
    [
        ("demo", False),
        ("torchvision/shufflenet_v2_x1_0", False),
        ("./demo", True),
        ("net.pth.tar", True),
        ("model.onnx", True),
        ("weights/here", True),  # because there is such a file
    ],
)
def test_a_checkpoint_is_a_name_or_a_path(tmp_path: Path, given: str, is_path: bool) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "here").touch()
    loaded = load_deploy(deploy(tmp_path, f"checkpoint: {given}\ntargets: [rpi4]\n"))
    assert loaded.checkpoint == (str(tmp_path / Path(given)) if is_path else given)


def test_gates_and_precision_go_over_the_targets(tmp_path: Path) -> None:
    path = deploy(tmp_path, "checkpoint: demo\ntargets: [rpi4]\nprecision: fp16\ngate: {min_sqnr_db: 19}\n")
    target = deploy_target(load_deploy(path), "rpi4")
    assert target.precision == "fp16"
    assert (target.gate.max_drop_pp, target.gate.min_agreement, target.gate.min_sqnr_db) == (0.5, 0.95, 19)


def test_profiles_beside_the_file_count(tmp_path: Path) -> None:
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "kiosk.yaml").write_text("extends: rpi5\n")
    path = deploy(tmp_path, "checkpoint: demo\ntargets: [kiosk, targets/kiosk.yaml]\n")
    loaded = load_deploy(path)
    for name in loaded.targets:
        assert deploy_target(loaded, name).cpu.model == "cortex-a76"
    assert check([path]) == []


def test_all_issues_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (
        "chekpoint: demo\ntargets: [rpi4, rpi44, rpi4, gone.yaml]\n"
        "run: {top_k: 0, engine: tflite, smoothing: 2, metrics_port: 99999}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_deploy(deploy(tmp_path, text))
    assert list(caught.value.issues) == [
        "deploy.yaml:1:1: missing key 'checkpoint': checkpoint file, or a name: demo, or one of "
        "`edgekit checkpoints list`",
        "deploy.yaml:1:1: unknown key 'chekpoint', perhaps 'checkpoint'",
        "deploy.yaml:2:17: unknown target 'rpi44', perhaps 'rpi4'",
        "deploy.yaml:2:24: target 'rpi4' is named twice",
        "deploy.yaml:2:30: no such target file 'gone.yaml'",
        "deploy.yaml:3:14: run.top_k: 0 is out of range, expected 1 to 1000",
        "deploy.yaml:3:25: run.engine: expected 'litert' or 'onnxruntime' or 'tflite-runtime' or 'auto', got 'tflite'",
        "deploy.yaml:3:44: run.smoothing: 2 is out of range, expected 0.001 to 1",
        "deploy.yaml:3:61: run.metrics_port: 99999 is out of range, expected 0 to 65535",
    ]


def test_no_targets_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"^deploy.yaml:2:10: targets: name at least one"):
        load_deploy(deploy(tmp_path, "checkpoint: demo\ntargets: []\n"))


def test_check_opens_what_loading_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = deploy(tmp_path, "checkpoint: a.pth\nlabels: l.txt\ncalibration: pics\ntargets: [rpi4]\n")
    assert isinstance(load_deploy(path), Deploy)
    assert check([path]) == [
        "deploy.yaml:1:13: checkpoint: no such file or folder 'a.pth'",
        "deploy.yaml:2:9: labels: no such file or folder 'l.txt'",
        "deploy.yaml:3:14: calibration: no such file or folder 'pics'",
    ]
    (tmp_path / "pics").mkdir()
    (tmp_path / "l.txt").touch()
    (tmp_path / "a.pth").touch()
    assert check([path]) == []


def test_check_finds_issues_in_the_targets_that_a_deployment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "kiosk.yaml").write_text("extends: rpi5\nthreads: 9\n")
    deploy(tmp_path, "checkpoint: demo\ntargets: [kiosk, rpi44]\n")
    assert check(["deploy.yaml"]) == [
        "deploy.yaml:2:18: unknown target 'rpi44', perhaps 'rpi4'",
        "targets/kiosk.yaml:2:10: threads: 9 threads on 4 cores",
    ]
    assert check() == check(["deploy.yaml"])


def test_a_deployment_is_told_from_a_profile_by_its_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site.yaml").write_text("checkpoint: demo\ntargets: [rpi44]\n")
    (tmp_path / "deployed-board.yaml").write_text("extends: rpi4\ncpu: {cores: 0}\n")
    assert check(["site.yaml"]) == ["site.yaml:2:11: unknown target 'rpi44', perhaps 'rpi4'"]
    assert check(["deployed-board.yaml"]) == [
        "deployed-board.yaml:2:14: cpu.cores: 0 is out of range, expected 1 to 256"
    ]
    assert check(["deploy.yaml"]) == ["deploy.yaml: no such file"]


@pytest.mark.parametrize("odd", ['"a\\0b"', "x" * 5000, "~nobody-here/x.pth", "/" + "x" * 5000])
def test_odd_paths_are_issues_and_no_crash(tmp_path: Path, odd: str) -> None:
    path = deploy(tmp_path, f"checkpoint: {odd}\nlabels: {odd}\ntargets: [rpi4]\n")
    assert load_deploy(path).labels
    assert any("no such file or folder" in issue for issue in check([path]))
    path = deploy(tmp_path, f"checkpoint: demo\ntargets: [{odd}]\n")
    assert len(check([path])) in (1, 2)
