"""Where profiles are, and how one that ``extends`` another becomes a single document.

A profile's sections are laid over those of the profile it extends, key by key; a list or a value replaces the older
one whole. ``name``, ``title`` and ``extends`` are each file's own. Nodes keep the place they came from, so an issue
in an inherited setting is reported in the file that holds it.
"""

from __future__ import annotations

import os
from pathlib import Path

from yaml.nodes import MappingNode, Node, ScalarNode

from edgekit.config.convert import cut, perhaps
from edgekit.config.fields import declared
from edgekit.config.target import Target
from edgekit.config.yamlfile import Issues, is_file, read
from edgekit.resources import shipped

_OWN = {item.key for item in declared(Target) if item.rule.own}


def folders(folder: Path | None = None) -> list[Path]:
    """Where profiles are looked for, first match wins: ``folder``, ``./targets``, those that ship with edgekit."""
    wanted = [folder] if folder else []
    wanted += [Path("targets"), shipped("targets")]
    found: dict[Path, Path] = {}
    for candidate in wanted:
        if candidate.is_dir():
            found.setdefault(candidate.resolve(), candidate)
    return list(found.values())


def available(folder: Path | None = None) -> dict[str, Path]:
    """Profiles by name, sorted."""
    found: dict[str, Path] = {}
    for place in folders(folder):
        for path in sorted(place.glob("*.yaml")):
            found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def is_path(name: str) -> bool:
    """Whether ``name`` means a file rather than a profile's name."""
    return name.endswith((".yaml", ".yml")) or os.sep in name or "/" in name


def flatten(path: Path, issues: Issues, folder: Path | None = None) -> MappingNode | None:
    """The document of ``path`` over those it extends; None with issues noted."""
    return _flatten(path, issues, folder, ())


def _flatten(path: Path, issues: Issues, folder: Path | None, chain: tuple[Path, ...]) -> MappingNode | None:
    root = read(path, issues)
    if root is None:
        return None
    extends = value_of(root, "extends")
    if extends is None or (isinstance(extends, ScalarNode) and extends.tag.endswith(":null")):
        return root
    if not isinstance(extends, ScalarNode) or not extends.value.strip():
        issues.add("extends: expected the name of a profile", extends)
        return None
    parent = _parent(path, extends.value, folder)
    if parent is None:
        known = available(folder)
        issues.add(
            f"extends '{cut(extends.value)}', which does not exist{perhaps(extends.value, list(known))}", extends
        )
        return None
    chain = (*chain, path.resolve())
    if parent.resolve() in chain:
        circle = [*chain[chain.index(parent.resolve()) :], parent.resolve()]
        issues.add(f"extends goes in a circle: {' -> '.join(link.stem for link in circle)}", extends)
        return None
    base = _flatten(parent, issues, folder, chain)
    return None if base is None else _over(base, root, top=True)


def _parent(child: Path, name: str, folder: Path | None) -> Path | None:
    """The file that ``extends: name`` in ``child`` means: a path from there, a file beside it, or a known profile."""
    if is_path(name):
        path = child.parent / name
        return path if is_file(path) else None
    beside = child.parent / f"{name}.yaml"
    if is_file(beside) and beside.resolve() != child.resolve():
        return beside
    candidates = [place / f"{name}.yaml" for place in folders(folder)]
    others = [path for path in candidates if is_file(path) and path.resolve() != child.resolve()]
    if others:
        return others[0]
    return beside if is_file(beside) else None


def value_of(root: MappingNode, key: str) -> Node | None:
    """The node of a top-level key, None where it is absent."""
    return next((value for name, value in root.value if name.value == key), None)


def _over(base: MappingNode, child: MappingNode, *, top: bool = False) -> MappingNode:
    merged: dict[str, tuple[Node, Node]] = {key.value: (key, value) for key, value in base.value}
    if top:
        merged = {name: pair for name, pair in merged.items() if name not in _OWN}
    for key, value in child.value:
        older = merged.get(key.value)
        if older and isinstance(older[1], MappingNode) and isinstance(value, MappingNode):
            value = _over(older[1], value)
        merged[key.value] = (key, value)
    return MappingNode(child.tag, list(merged.values()), child.start_mark, child.end_mark)
