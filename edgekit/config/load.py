"""Loading and checking: the functions that everybody else calls."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from edgekit.config.convert import Reader, cut, perhaps
from edgekit.config.deploy import Deploy
from edgekit.config.extends import available, flatten, is_path, value_of
from edgekit.config.fields import declared, walk
from edgekit.config.rules import cross_check
from edgekit.config.target import Target
from edgekit.config.yamlfile import Issues, is_file, read
from edgekit.errors import ConfigError

# Weights come with these; a checkpoint without one, and without a file of that name, is a name of the catalogue.
_CHECKPOINT_SUFFIXES = (
    ".pth", ".pt", ".tar", ".pdparams", ".onnx", ".safetensors", ".index", ".ckpt", ".bin", ".pkl", ".zip"
)  # fmt: skip


def list_targets(folder: Path | str | None = None) -> list[str]:
    """Names of all target profiles: ``folder``'s, ``./targets``' and those that ship with edgekit, sorted."""
    return list(available(Path(folder) if folder else None))


def load_target(name_or_path: str | Path, *, folder: Path | str | None = None) -> Target:
    """A target profile by name (``rpi4``) or file (``boards/mine.yaml``), with what it extends.

    Args:
        name_or_path: anything with a slash or ending in ``.yaml`` is a file.
        folder: looked through before ``./targets`` and the shipped profiles.

    Raises:
        ConfigError: there is no such profile (the nearest names are offered), or it has issues: all of them, each
            ``file:line:column: what``.
    """
    where = Path(folder) if folder else None
    issues = Issues()
    target = _target(target_path(name_or_path, folder=where), issues, where)
    if target is None or issues:
        raise ConfigError(issues.lines(), hint="edgekit targets check, once mended")
    return target


def target_path(name_or_path: str | Path, *, folder: Path | None = None) -> Path:
    """The file of a profile.

    Raises:
        ConfigError: no profile has that name; the nearest are offered.
    """
    if isinstance(name_or_path, Path) or is_path(name_or_path):
        return Path(name_or_path)
    known = available(folder)
    if name_or_path in known:
        return known[name_or_path]
    near = get_close_matches(name_or_path.lower().replace("raspberry", "r"), list(known), n=3, cutoff=0.4)
    guess = f", perhaps {' or '.join(repr(name) for name in near)}" if near else ""
    raise ConfigError([f"unknown target '{name_or_path}'{guess}"], hint=f"one of {', '.join(known)}")


def load_deploy(path: str | Path) -> Deploy:
    """A deployment from ``deploy.yaml``; its paths come back absolute, as they are relative to the file.

    Files that it names are not opened: each stage says itself when its input is missing.

    Raises:
        ConfigError: with every issue, an unknown target among them.
    """
    issues = Issues()
    deploy = _deploy(Path(path), issues)
    if deploy is None or issues:
        raise ConfigError(issues.lines(), hint="edgekit targets check, once mended")
    return deploy


def deploy_target(deploy: Deploy, name: str) -> Target:
    """A target as this deployment wants it: its gates and precision laid over the profile's.

    Args:
        name: a profile's name; or a file, from here or from beside the deployment.

    Raises:
        ConfigError: as :func:`load_target`.
    """
    if deploy.path and is_path(name) and not is_file(Path(name)):
        name = _beside(deploy.path, name)
    target = load_target(name, folder=_folder_of(deploy.path))
    gate = {f.name: getattr(deploy.gate, f.name) for f in dataclasses.fields(deploy.gate)}
    given = {name: value for name, value in gate.items() if value is not None}
    return dataclasses.replace(
        target,
        gate=dataclasses.replace(target.gate, **given),
        precision=deploy.precision or target.precision,
    )


def check(files: Iterable[str | Path] | None = None) -> list[str]:
    """All issues of profiles and deployments, each ``file:line:column: what``; empty if there is none.

    Args:
        files: what to check; None means every profile that can be found and ``./deploy.yaml`` if there is one. A file
            is a deployment if it has a key that only deployments have, else a profile. Files that a deployment names
            must exist here.
    """
    issues = Issues()
    paths = [Path(file) for file in files] if files is not None else _all_files()
    for path in paths:
        if is_deploy(path):
            deploy = _deploy(path, issues, exists=True)
            folder = _folder_of(path)
            known = available(folder)
            named = [_beside(path, name) for name in (deploy.targets if deploy else ())]
            for file in [Path(name) if is_path(name) else known.get(name) for name in named]:
                if file and is_file(file):  # else it has been noted where the deployment names it
                    _target(file, issues, folder)
        else:
            _target(path, issues, None)
    return issues.lines()


def is_deploy(path: Path) -> bool:
    """Whether a file is a deployment rather than a profile, judged by its keys, then by its name."""
    root = read(path, Issues())
    if root is not None:
        keys = {key.value for key, _ in root.value}
        profile = {item.key for item in declared(Target)}
        deployment = {item.key for item in declared(Deploy)}
        mine, theirs = len(keys & (deployment - profile)), len(keys & (profile - deployment))
        if mine != theirs:
            return mine > theirs
    return path.name.startswith("deploy")


def _all_files() -> list[Path]:
    deploy = Path("deploy.yaml")
    return [*available().values(), *([deploy] if deploy.is_file() else [])]


def _target(path: Path, issues: Issues, folder: Path | None) -> Target | None:
    root = flatten(path, issues, folder)
    if root is None:
        return None
    given = value_of(root, "name")
    if given is None:
        name = ScalarNode("tag:yaml.org,2002:str", path.stem, root.start_mark)
        key = ScalarNode("tag:yaml.org,2002:str", "name", root.start_mark)
        root = MappingNode(root.tag, [(key, name), *root.value], root.start_mark, root.end_mark)
    elif isinstance(given, ScalarNode) and given.value != path.stem:
        issues.add(f"name: '{given.value}' is not the file's own name, '{path.stem}'", given)
    reader = Reader(issues)
    target = reader.read(root, Target)
    if target is not None:
        cross_check(target, reader.nodes, root, issues)
    return target


def _deploy(path: Path, issues: Issues, *, exists: bool = False) -> Deploy | None:
    root = read(path, issues)
    if root is None:
        return None
    reader = Reader(issues)
    deploy = reader.read(root, Deploy)
    _check_names(path, reader.nodes.get("targets"), issues)
    if deploy is None:
        return None
    base = path.resolve().parent
    changes: dict[str, str] = {}
    for where, item in walk(Deploy):
        if not item.rule.path or "." in where:
            continue
        value = getattr(deploy, item.name)
        if value is not None:
            changes[item.name] = resolved = _resolve(value, base, name_allowed=item.name == "checkpoint")
            given = reader.nodes.get(where)
            if exists and given and item.name != "output" and os.sep in resolved and _is_missing(resolved):
                issues.add(f"{where}: no such file or folder '{cut(value)}'", given)
    telemetry = deploy.run.telemetry
    run = dataclasses.replace(deploy.run, telemetry=_resolve(telemetry, base)) if telemetry else deploy.run
    return dataclasses.replace(deploy, path=path.resolve(), run=run, **changes)  # type: ignore[arg-type]


def _check_names(path: Path, targets: Node | None, issues: Issues) -> None:
    """Every target that a deployment names must exist, and be named once."""
    if not isinstance(targets, SequenceNode):
        return
    known = available(_folder_of(path))
    if not targets.value:
        issues.add("targets: name at least one", targets)
    seen: set[str] = set()
    for node in targets.value:
        if not isinstance(node, ScalarNode):
            continue
        if node.value in seen:
            issues.add(f"target '{node.value}' is named twice", node)
        seen.add(node.value)
        if is_path(node.value):
            if not is_file(Path(_beside(path, node.value))):
                issues.add(f"no such target file '{cut(node.value)}'", node)
        elif node.value not in known:
            issues.add(f"unknown target '{cut(node.value)}'{perhaps(node.value, list(known))}", node)


def _beside(deploy: Path, name: str) -> str:
    return str(deploy.resolve().parent / name) if is_path(name) else name


def _folder_of(deploy: Path | None) -> Path | None:
    """The profiles beside a deploy.yaml."""
    return deploy.resolve().parent / "targets" if deploy else None


def _resolve(value: str, base: Path, *, name_allowed: bool = False) -> str:
    """A path from deploy.yaml as an absolute one; a checkpoint's name stays as it is unless a file has it."""
    path = base / value
    with contextlib.suppress(RuntimeError):  # ~somebody without a home: then it is a strange name
        path = base / Path(value).expanduser()
    looks_like_path = value.startswith((".", "/", "~")) or value.lower().endswith(_CHECKPOINT_SUFFIXES)
    if name_allowed and not looks_like_path and not _exists(path):
        return value
    return os.path.normpath(path)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _is_missing(path: str) -> bool:
    """A TensorFlow checkpoint is named by its prefix, so a file that begins with the name will do."""
    here = Path(path)
    return not _exists(here) and not _exists(here.with_name(f"{here.name}.index"))
