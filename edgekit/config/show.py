"""What ``edgekit targets list|show|check`` prints: text for people, plain dicts for ``--json``."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from edgekit.config.fields import declared
from edgekit.config.load import check, list_targets, load_target
from edgekit.config.target import Target
from edgekit.errors import ConfigError

_VALUE_WIDTH = 46


def list_rows(folder: Path | None = None) -> list[dict[str, Any]]:
    """One dict per profile: name, title, isa, model, cores, clock_mhz, ram_mb, engine, threads, precision, issues.

    A profile that cannot be loaded has only ``name`` and its ``issues``, so that one bad file hides no other.
    """
    rows: list[dict[str, Any]] = []
    for name in list_targets(folder):
        try:
            target = load_target(name, folder=folder)
        except ConfigError as error:
            rows.append({"name": name, "issues": list(error.issues)})
            continue
        rows.append(
            {
                "name": name,
                "title": target.title,
                "isa": target.cpu.isa,
                "model": target.cpu.model,
                "cores": target.cpu.cores,
                "clock_mhz": target.cpu.clock_mhz,
                "ram_mb": target.memory.ram_mb,
                "engine": target.engine.preferred,
                "threads": target.threads,
                "precision": target.precision,
                "issues": [],
            }
        )
    return rows


def list_text(folder: Path | None = None) -> str:
    """The profiles as a table."""
    table = [("NAME", "ISA", "CORES", "RAM", "ENGINE", "", "WHAT")]
    broken: list[str] = []
    for row in list_rows(folder):
        if row["issues"]:
            table.append((row["name"], "", "", "", "", "", f"broken: {len(row['issues'])} issue(s), see below"))
            broken += row["issues"]
            continue
        cores = f"{row['cores']} x {row['model']} {row['clock_mhz'] / 1000:.1f} GHz"
        engine = f"{row['engine']}, {row['threads']} threads"
        table.append((row["name"], row["isa"], cores, _memory(row["ram_mb"]), engine, row["precision"], row["title"]))
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table]
    return "\n".join([*lines, *(["", *broken] if broken else [])])


def show_dict(name_or_path: str, folder: Path | None = None) -> dict[str, Any]:
    """A profile with everything it inherits and every default, under its YAML keys.

    Raises:
        ConfigError: as :func:`~edgekit.config.load_target`.
    """
    return load_target(name_or_path, folder=folder).to_dict()


def show_text(name_or_path: str, folder: Path | None = None) -> str:
    """The same as YAML that loads again, each setting with what it means.

    Raises:
        ConfigError: as :func:`~edgekit.config.load_target`.
    """
    return "\n".join(_lines(load_target(name_or_path, folder=folder), 0))


def check_text(files: Iterable[str | Path] | None = None) -> tuple[str, list[str]]:
    """(text, issues) of ``edgekit targets check``: the issues one a line, or one line that says all is well."""
    given = list(files) if files is not None else None
    issues = check(given)
    if issues:
        count = f"{len(issues)} issue{'s' if len(issues) > 1 else ''}"
        return "\n".join([*issues, count]), issues
    if given is None:
        given = [*list_targets(), *(["deploy.yaml"] if Path("deploy.yaml").is_file() else [])]
    return f"no issues in {', '.join(map(str, given))}", []


def _lines(value: Any, depth: int) -> Iterator[str]:
    pad = "  " * depth
    for item in declared(type(value)):
        held = getattr(value, item.name)
        if dataclasses.is_dataclass(held):
            yield f"{pad}{item.key}:"
            yield from _lines(held, depth + 1)
        elif isinstance(held, tuple) and held and dataclasses.is_dataclass(held[0]):
            yield f"{pad}{item.key}: # {item.rule.doc}"
            for entry in held:
                yield f"{pad}  - {_flow(entry)}"
        elif isinstance(value, Target) and item.key == "extends":
            # What is shown is already complete: naming the parent again would only hide where it came from.
            yield f"{pad}# extends {held}" if held else f"{pad}# extends no other"
        else:
            text = f"{pad}{item.key}: {_scalar(held)}"
            yield f"{text.ljust(_VALUE_WIDTH)} # {item.rule.doc}"


def _flow(entry: Any) -> str:
    pairs = (f"{item.key}: {_scalar(getattr(entry, item.name))}" for item in declared(type(entry)))
    return "{ " + ", ".join(pairs) + " }"


def _scalar(value: Any) -> str:
    """A value as YAML; JSON's spelling is YAML's too, and quotes keep 3.11 a text."""
    if isinstance(value, tuple):
        return "[" + ", ".join(_scalar(item) for item in value) + "]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str) and _BARE.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)


_BARE = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
# Bare, YAML 1.1 reads these as something other than text.
_WORDS = {"yes", "no", "on", "off", "true", "false", "null", "y", "n", "detect"}


def _memory(mb: int) -> str:
    return f"{mb} MB" if mb < 1024 else f"{mb / 1024:.3g} GB"
