"""Every kind of mistake in a profile becomes one line that names file, line and column."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.config import check, load_target
from edgekit.errors import ConfigError

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(tmp_path)

    def write(text: str, name: str = "mine.yaml") -> Path:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return Path(name)

    return write


def issues_of(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_target(path)
    assert caught.value.exit_code == 2
    assert list(caught.value.issues) == check([path])
    return list(caught.value.issues)


ONE_ISSUE = {
    "unknown key": (
        "extends: rpi4\ncpu:\n  clok_mhz: 1500\n",
        "mine.yaml:3:3: unknown key 'clok_mhz', perhaps 'clock_mhz'",
    ),
    "unknown section": ("extends: rpi4\ncamra: {}\n", "mine.yaml:2:1: unknown key 'camra', perhaps 'camera'"),
    "nothing near": ("extends: rpi4\nzzz: 1\n", "mine.yaml:2:1: unknown key 'zzz'"),
    "text for a number": (
        "extends: rpi4\ncpu:\n  cores: four\n",
        "mine.yaml:3:10: cpu.cores: expected a whole number, got 'four'",
    ),
    "fraction for a whole number": (
        "extends: rpi4\nthreads: 1.5\n",
        "mine.yaml:2:10: threads: expected a whole number, got the number '1.5'",
    ),
    "octal is not decimal": (
        "extends: rpi4\nthreads: 02\n",
        "mine.yaml:2:10: threads: expected a whole number, got the number '02'",
    ),
    "quoted number": (
        "extends: rpi4\nthreads: '2'\n",
        "mine.yaml:2:10: threads: expected a whole number, got '2'",
    ),
    "number for a switch": (
        "extends: rpi4\nquantization: {equalize: 1}\n",
        "mine.yaml:2:26: quantization.equalize: expected true or false, got the number '1'",
    ),
    "number for text": (
        "extends: rpi4\nos: {name: 12}\n",
        "mine.yaml:2:12: os.name: expected text (in quotes if it looks like something else), got the number '12'",
    ),
    "list for a section": (
        "extends: rpi4\ngate: [1]\n",
        "mine.yaml:2:7: gate: expected settings (key: value), got a list",
    ),
    "section for a number": (
        "extends: rpi4\nthreads: {a: 1}\n",
        "mine.yaml:2:10: threads: expected a whole number, got settings (key: value)",
    ),
    "text for a list": (
        "extends: rpi4\nengine: {fallbacks: onnxruntime}\n",
        "mine.yaml:2:21: engine.fallbacks: expected a list, got 'onnxruntime'",
    ),
    "neither list nor word": (
        "extends: rpi4\nquantization: {keep_float: all}\n",
        "mine.yaml:2:28: quantization.keep_float: expected a list or 'auto', got 'all'",
    ),
    "nothing where something must be": (
        "extends: rpi4\nthreads:\n",
        "mine.yaml:2:9: threads: expected a whole number, got nothing",
    ),
    "choice": (
        "extends: rpi4\nengine: {preferred: lite-rt}\n",
        "mine.yaml:2:21: engine.preferred: expected one of litert, onnxruntime, tflite-runtime, "
        "got 'lite-rt', perhaps 'litert'",
    ),
    "below the range": (
        "extends: rpi4\nthreads: 0\n",
        "mine.yaml:2:10: threads: 0 is out of range, expected 1 to 256",
    ),
    "above the range": (
        "extends: rpi4\ngate: {min_agreement: 95}\n",
        "mine.yaml:2:23: gate.min_agreement: 95 is out of range, expected 0 to 1",
    ),
    "not a number that can be used": (
        "extends: rpi4\nbudget: {latency_ms: .nan}\n",
        "mine.yaml:2:22: budget.latency_ms: expected a number, got the number '.nan'",
    ),
    "pattern": (
        "extends: rpi4\nos: {python: three}\n",
        "mine.yaml:2:14: os.python: expected a version such as 3.11, got 'three'",
    ),
    "duplicate key": (
        "extends: rpi4\nthreads: 1\nthreads: 2\n",
        "mine.yaml:3:1: key 'threads' is given twice, first in line 2",
    ),
    "key that is no text": ("extends: rpi4\n? [a]\n: 1\n", "mine.yaml:2:3: a key must be plain text"),
    "missing in a list entry": (
        "extends: rpi4\npeers:\n  - {tool: ncnn, model: m, precision: int8, threads: 1, latency_ms: 3}\n",
        "mine.yaml:3:5: missing key 'source' in 'peers[0]': where it was published",
    ),
    "name of another file": (
        "extends: rpi4\nname: other\n",
        "mine.yaml:2:7: name: 'other' is not the file's own name, 'mine'",
    ),
    "unknown parent": ("extends: rpi44\n", "mine.yaml:1:10: extends 'rpi44', which does not exist, perhaps 'rpi4'"),
    "parent file that is not there": (
        "extends: ./base.yaml\n",
        "mine.yaml:1:10: extends './base.yaml', which does not exist",
    ),
    "own parent": ("extends: mine\n", "mine.yaml:1:10: extends goes in a circle: mine -> mine"),
    "parent that is no name": ("extends: [rpi4]\n", "mine.yaml:1:10: extends: expected the name of a profile"),
    "more threads than cores": ("extends: rpi4\nthreads: 8\n", "mine.yaml:2:10: threads: 8 threads on 4 cores"),
    "engine without wheels": (
        "extends: armv7\nengine: {preferred: litert}\n",
        "mine.yaml:2:21: engine.preferred: there is no litert for armv7",
    ),
    "tflite-runtime with a new Python": (
        "extends: armv7\nos: {python: 3.13}\n",
        "mine.yaml:2:14: os.python: tflite-runtime ends at Python 3.11, and this is 3.13",
    ),
    "tflite-runtime with NumPy 2": (
        "extends: armv7\nengine: {versions: {numpy: 2.1.0}}\n",
        "mine.yaml:2:28: engine.versions.numpy: tflite-runtime needs NumPy 1, not 2.1.0",
    ),
    "crop larger than the resized picture": (
        "extends: rpi4\ninput: {height: 224, width: 224, resize: 200}\n",
        "mine.yaml:2:42: input.resize: 200 is smaller than the input (224)",
    ),
    "first choice again": (
        "extends: rpi4\nengine: {fallbacks: [litert]}\n",
        "mine.yaml:2:21: engine.fallbacks: 'litert' is already the first choice",
    ),
    "syntax": (
        "extends: rpi4\ncpu: {cores: 4\nthreads: 2\n",
        "mine.yaml:3:8: not valid YAML: expected ',' or '}', but got ':'",
    ),
    "tab": ("extends: rpi4\ncpu:\n\tcores: 4\n", None),
    "empty": ("", "mine.yaml:1:1: the file is empty"),
    "only a comment": ("# nothing\n", "mine.yaml:1:1: the file is empty"),
    "top-level list": ("- a\n- b\n", "mine.yaml:1:1: expected settings (key: value) at the top level"),
    "two documents": ("extends: rpi4\n---\nextends: rpi5\n", None),
    "control character": (
        "extends: rpi4\nname: 'a\x07'\n",
        "mine.yaml:2:9: a character that YAML does not allow: U+0007",
    ),
    "a tag that would build an object": (
        "extends: rpi4\nthreads: !!python/object/apply:os.getcwd []\n",
        "mine.yaml:2:10: threads: expected a whole number, got a list",
    ),
    "alias in itself": ("extends: rpi4\npeers: &a [*a]\n", "mine.yaml:2:8: an alias that contains itself"),
    "more digits than a number may have": (
        "extends: rpi4\nthreads: " + "1" * 6000 + "\n",
        f"mine.yaml:2:10: threads: {'1' * 57}... is out of range, expected 1 to 256",
    ),
    "beyond infinity": (
        "extends: rpi4\nbudget: {latency_ms: 1e999}\n",
        "mine.yaml:2:22: budget.latency_ms: 1e999 is out of range, expected 0.01 to 60000",
    ),
    "a name that no file can have": (
        'extends: "./a\\0b.yaml"\n',
        "mine.yaml:1:10: extends './a\N{REPLACEMENT CHARACTER}b.yaml', which does not exist",
    ),
    "a name too long for a file": (
        f"extends: {'x' * 5000}\n",
        f"mine.yaml:1:10: extends '{'x' * 57}...', which does not exist",
    ),
    "terminal codes": (
        'extends: rpi4\nengine: {preferred: "\\e[31m\\n"}\n',
        "mine.yaml:2:21: engine.preferred: expected one of litert, onnxruntime, tflite-runtime, "
        "got '\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}'",
    ),
    "merge key": ("extends: rpi4\n<<: {threads: 2}\n", "mine.yaml:2:1: unknown key '<<'"),
}


@pytest.mark.parametrize(("text", "issue"), ONE_ISSUE.values(), ids=list(ONE_ISSUE))
def test_one_mistake_is_one_issue(text: str, issue: str | None, write: Write) -> None:
    (found,) = issues_of(write(text))
    if issue is None:
        assert found.startswith("mine.yaml:") and "not valid YAML" in found
    else:
        assert found == issue


def test_all_issues_come_at_once_in_order(write: Write) -> None:
    path = write(
        "extends: rpi4\nbogus: 1\nthreads: many\ncpu:\n  cores: 0\n  isa: arm\ngate: {max_drop_pp: -1, min_sqnr: 2}\n"
    )
    assert issues_of(path) == [
        "mine.yaml:2:1: unknown key 'bogus'",
        "mine.yaml:3:10: threads: expected a whole number, got 'many'",
        "mine.yaml:5:10: cpu.cores: 0 is out of range, expected 1 to 256",
        "mine.yaml:6:8: cpu.isa: expected one of aarch64, armv7, x86_64, got 'arm', perhaps 'armv7'",
        "mine.yaml:7:21: gate.max_drop_pp: -1 is out of range, expected 0 to 100",
        "mine.yaml:7:25: unknown key 'min_sqnr', perhaps 'min_sqnr_db'",
    ]


def test_missing_keys_of_a_profile_that_stands_alone(write: Write) -> None:
    issues = issues_of(write("title: alone\ncpu: {model: x, isa: x86_64}\n"))
    assert [issue.split(": ")[1] for issue in issues] == [
        "missing key 'engine'",
        "missing key 'memory'",
        "missing key 'os'",
        "missing key 'threads'",
        "missing key 'clock_mhz' in 'cpu'",
        "missing key 'cores' in 'cpu'",
        "missing key 'dot_product' in 'cpu'",
        "missing key 'fp16' in 'cpu'",
    ]
    assert issues[0].startswith("mine.yaml:1:1: ") and issues[-1].startswith("mine.yaml:2:6: ")


def test_an_issue_in_an_inherited_setting_is_reported_where_it_stands(write: Write) -> None:
    write("extends: rpi4\nthreads: no\n", "base.yaml")
    child = write("extends: base\n")
    assert issues_of(child) == ["base.yaml:2:10: threads: expected a whole number, got 'no'"]


def test_a_longer_circle_is_named(write: Write) -> None:
    write("extends: b\n", "a.yaml")
    write("extends: c\n", "b.yaml")
    write("extends: a\n", "c.yaml")
    assert issues_of(Path("a.yaml")) == ["c.yaml:1:10: extends goes in a circle: a -> b -> c -> a"]


def test_files_that_cannot_be_read(write: Write, tmp_path: Path) -> None:
    assert issues_of(Path("gone.yaml")) == ["gone.yaml: no such file"]
    (tmp_path / "dir.yaml").mkdir()
    assert issues_of(Path("dir.yaml")) == ["dir.yaml: is a folder, not a file"]
    assert issues_of(write("#" * 300_000)) == ["mine.yaml: larger than 256 KB: not a settings file"]
    assert issues_of(write(b"extends: rpi4\ntitle: caf\xe9\n")) == ["mine.yaml:2:11: not UTF-8 text"]  # type: ignore[arg-type]


def test_bombs_are_refused_quickly(write: Write) -> None:
    layers = "".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]\n" for i in range(1, 12))
    assert issues_of(write("l0: &l0 [a]\n" + layers)) == ["mine.yaml:1:1: too many values once aliases are expanded"]
    (issue,) = issues_of(write("peers: " + "[" * 20_000))
    assert issue.startswith("mine.yaml:1:") and "nested too deeply" in issue


def test_an_unknown_target_offers_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_target("rpi44")
    assert caught.value.message.startswith("unknown target 'rpi44', perhaps 'rpi4'")
    assert caught.value.hint and "rpi-zero2w" in caught.value.hint
    for wrong, near in {"raspberrypi5": "rpi5", "pi4": "rpi4", "RPI3": "rpi3", "zero2w": "rpi-zero2w"}.items():
        with pytest.raises(ConfigError, match=near):
            load_target(wrong)
    with pytest.raises(ConfigError, match=r"unknown target 'toaster-9000'\n") as caught:
        load_target("toaster-9000")


@given(st.binary(max_size=300))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_issues_and_never_a_crash(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        load_target(path)
    assert all(issue.startswith(f"{path}") for issue in caught.value.issues)


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_profile_loads_or_is_refused(tmp_path: Path, project_root: Path, data: st.DataObject) -> None:
    text = bytearray((project_root / "targets" / "armv7.yaml").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    path = tmp_path / "armv7.yaml"
    path.write_bytes(bytes(text))
    try:
        target = load_target(path)
    except ConfigError as error:
        assert error.issues and all(":" in issue for issue in error.issues)
    else:
        assert target.name == "armv7"
