"""The JSON Schemas that editors use say of one file what the reader says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from edgekit.config import Deploy, Target, deploy_schema, target_schema
from edgekit.config.convert import Reader
from edgekit.config.fields import walk
from edgekit.config.schema import files
from edgekit.config.yamlfile import Issues, parse

jsonschema = pytest.importorskip("jsonschema")


def valid(schema: dict[str, Any], text: str) -> bool:
    return bool(jsonschema.Draft202012Validator(schema).is_valid(yaml.safe_load(text)))


def test_committed_schemas_are_in_step() -> None:
    for path, text in files().items():
        assert path.read_text("utf-8") == text, "run `python -m edgekit.config` and commit the outcome"


def test_schemas_are_schemas() -> None:
    for schema in (target_schema(), deploy_schema()):
        jsonschema.Draft202012Validator.check_schema(schema)


def test_shipped_files_are_valid_and_name_their_schema(project_root: Path) -> None:
    for path in (project_root / "targets").glob("*.yaml"):
        text = path.read_text("utf-8")
        assert valid(target_schema(), text), path
        hint = text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
        assert (path.parent / hint).resolve() in files()
    text = (project_root / "deploy.yaml").read_text("utf-8")
    assert valid(deploy_schema(), text)
    assert (project_root / text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")) in files()


@pytest.mark.parametrize(
    "text",
    [
        "extends: rpi4\ncpu: {clok_mhz: 1}",
        "extends: rpi4\nthreads: 0",
        "extends: rpi4\nengine: {preferred: torch}",
        "extends: rpi4\ngate: {min_agreement: 95}",
        "extends: rpi4\nquantization: {keep_float: all}",
        "extends: rpi4\nname: No Spaces",
        "extends: rpi4\npeers: [{tool: ncnn}]",
        "title: alone",
        "title: alone\ncpu: {model: x}\nmemory: {ram_mb: 512}\nos: {name: a, python: '3.11', glibc: '2.36'}\n"
        "engine: {preferred: litert}\nthreads: 1",
    ],
)
def test_what_the_reader_refuses_an_editor_underlines(text: str) -> None:
    assert not valid(target_schema(), text)


def test_a_profile_that_extends_may_be_partial() -> None:
    assert valid(target_schema(), "extends: rpi4\ncpu: {clock_mhz: 1500}\nos: {python: '3.11'}\n")


def test_every_setting_is_explained() -> None:
    def missing(schema: dict[str, Any], path: str) -> list[str]:
        found = []
        for key, part in schema.get("properties", {}).items():
            found += [f"{path}{key}"] if not part.get("description") else []
            found += missing(part, f"{path}{key}.")
        return found

    assert missing(target_schema(), "") + missing(deploy_schema(), "") == []


VALUES = [
    None, True, False, -2, -1, 0, 1, 2, 3, 90, 224, 300, 2**31, 0.5, -1.5, 1e9 + 0.5, 99.9,
    "litert", "aarch64", "auto", "keep", "text", "3.11", "2.36", "MJPG", "int8", "", "  ", "x y", "detect", "90",
    "true", [], ["litert"], ["a", "b"], [3], [None], [[]], {}, {"a": 1}, [{"tool": "ncnn"}],
    [{"tool": "t", "model": "m", "precision": "int8", "threads": 1, "latency_ms": 1.5, "source": "s"}],
]  # fmt: skip
FACTS = {
    "cpu_model": "c", "isa": "x86_64", "cores": 2, "clock_mhz": 1000, "dot_product": True, "fp16": False, "ram_mb": 512,
    "os_name": "o", "python": "3.11", "glibc": "2.36", "threads": 2,
}  # fmt: skip


@pytest.mark.parametrize(("cls", "schema"), [(Target, target_schema()), (Deploy, deploy_schema())])
def test_reader_and_schema_agree_on_any_value_in_any_place(cls: type, schema: dict[str, Any]) -> None:
    """What one refuses the other does. Rules between settings and between files are the reader's alone."""
    validator = jsonschema.Draft202012Validator(schema)
    start: dict[str, Any] = {"extends": "rpi4"} if cls is Target else {"checkpoint": "demo", "targets": ["rpi4"]}
    different = []
    for path, item in walk(cls):
        for value in VALUES:
            if item.rule.verbatim and isinstance(value, int | float) and not isinstance(value, bool):
                continue  # the one known difference: an unquoted 3.10 is fine with the reader and not with an editor
            *sections, key = path.split(".")
            document = inner = dict(start)
            for section in sections:
                inner[section] = inner = {}
            inner[key] = value
            issues = Issues()
            root = parse(yaml.safe_dump(document).encode(), "x.yaml", issues)
            assert root is not None
            Reader(issues, facts=FACTS.__getitem__).read(root, cls)
            # Only a profile that extends another may leave settings out.
            found = [line for line in issues.lines() if cls is Deploy or "missing key" not in line or "[0]" in line]
            if validator.is_valid(document) == bool(found):
                different.append((path, value, found))
    assert different == []
