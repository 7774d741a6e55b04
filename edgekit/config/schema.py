"""JSON Schemas for editors, from the same declarations that the reader uses.

``python -m edgekit.config`` writes them to ``edgekit/config/schemas``; a test keeps them in step. They say
what an editor can know of one file; inherited settings and names of targets are for ``edgekit targets check``.
"""

from __future__ import annotations

import dataclasses
import json
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from edgekit.config.deploy import Deploy
from edgekit.config.fields import Declared, Rule, declared, plain
from edgekit.config.target import Target

FOLDER = Path(__file__).resolve().parent / "schemas"


def target_schema() -> dict[str, Any]:
    """Schema of ``targets/*.yaml``. Board facts are required only of a profile that extends no other."""
    schema = _document(Target, "edgekit target profile", strict=False)
    complete = _required(Target, without={"name"})
    return {**schema, "if": {"not": {"required": ["extends"]}}, "then": complete}


def deploy_schema() -> dict[str, Any]:
    """Schema of ``deploy.yaml``."""
    return _document(Deploy, "edgekit deployment", strict=True)


def files() -> dict[Path, str]:
    """What each committed schema file must hold."""
    return {
        FOLDER / f"{name}.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in (("target", target_schema()), ("deploy", deploy_schema()))
    }


def _document(cls: type, title: str, *, strict: bool) -> dict[str, Any]:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **_object(cls, strict=strict)}


def _object(cls: type, *, strict: bool) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {item.key: _property(item, strict=strict) for item in declared(cls)},
        "additionalProperties": False,
    }
    required = [item.key for item in declared(cls) if item.required]
    if strict and required:
        schema["required"] = required
    return schema


def _required(cls: type, without: frozenset[str] | set[str] = frozenset()) -> dict[str, Any]:
    """Only the ``required`` parts of a type, level by level, for a document that stands alone."""
    items = [item for item in declared(cls) if item.key not in without]
    nested = {
        item.key: _required(item.type)
        for item in items
        if isinstance(item.type, type) and dataclasses.is_dataclass(item.type)
    }
    schema: dict[str, Any] = {"required": [item.key for item in items if item.required]}
    properties = {key: value for key, value in nested.items() if value["required"]}
    return {**schema, "properties": properties} if properties else schema


def _property(item: Declared, *, strict: bool) -> dict[str, Any]:
    schema: dict[str, Any] = {"description": item.rule.doc}
    if not item.required and not dataclasses.is_dataclass(item.default):
        schema["default"] = plain(item.default)
    shape = _shape(item.type, item.rule, strict=strict)
    if item.rule.detect:
        shape = {"anyOf": [shape, {"const": "detect"}]}
    return {**schema, **shape}


def _shape(kind: Any, rule: Rule, *, strict: bool) -> dict[str, Any]:
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _object(kind, strict=strict)
    origin, args = get_origin(kind), get_args(kind)
    if origin is tuple:
        # A list replaces an inherited one whole, so its entries are complete even in a profile that extends another.
        return {"type": "array", "items": _shape(args[0], rule, strict=True)}
    if origin is Literal:
        return {"enum": list(args)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_shape(arm, rule, strict=strict) for arm in args]}
    if kind is type(None):
        return {"type": "null"}
    if kind is bool:
        return {"type": "boolean"}
    if kind is str:
        # The reader also takes an unquoted 3.10 as the text it is; other YAML tools would make it 3.1, so editors ask
        # for quotes.
        pattern = f"^(?:{rule.pattern})$" if rule.pattern else None if rule.own else r"\S"
        return {"type": "string", **({"pattern": pattern} if pattern else {})}
    number: dict[str, Any] = {"type": "integer" if kind is int else "number"}
    if rule.low is not None:
        number["minimum"] = rule.low
    if rule.high is not None:
        number["maximum"] = rule.high
    return number
