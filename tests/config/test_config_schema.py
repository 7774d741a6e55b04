"""The JSON Schemas that editors use say of one file what the reader says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from edgekit.config import deploy_schema, target_schema
from edgekit.config.schema import files

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
    assert valid(target_schema(), "extends: rpi4\ncpu: {clock_mhz: 1500}\nos: {python: 3.11}\n")


def test_every_setting_is_explained() -> None:
    def missing(schema: dict[str, Any], path: str) -> list[str]:
        found = []
        for key, part in schema.get("properties", {}).items():
            found += [f"{path}{key}"] if not part.get("description") else []
            found += missing(part, f"{path}{key}.")
        return found

    assert missing(target_schema(), "") + missing(deploy_schema(), "") == []
