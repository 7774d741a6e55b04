"""Nodes to frozen settings: types, ranges, unknown and missing keys, every issue noted and none fatal to the others."""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from yaml.error import Mark
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from edgekit.config.fields import Declared, Rule, declared
from edgekit.config.machine import Machine
from edgekit.config.yamlfile import Issues
from edgekit.errors import ConfigError

T = TypeVar("T")

_TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?(\d[\d_]*)?\.?\d[\d_]*([eE][-+]?\d+)?\.?")
_MOST_DIGITS = 18
_TRUE, _FALSE = {"true", "yes", "on"}, {"false", "no", "off"}


class _Failed:
    """Stands for a value that was refused; its issue has been noted."""


_FAILED = _Failed()


class Reader:
    """Turns one document into settings.

    After :meth:`read`, ``nodes`` maps each dotted path that was given to the node of its value, so that checks across
    settings can point at them. ``facts`` answers the word ``detect``.
    """

    def __init__(self, issues: Issues, facts: Callable[[str], Any] | None = None) -> None:
        self.issues = issues
        self.nodes: dict[str, Node] = {}
        self._facts = facts or Machine().fact

    def read(self, node: Node, cls: type[T], path: str = "") -> T | None:
        """A ``cls`` from a mapping node; None if anything in it was refused."""
        value = self._section(node, cls, path)
        return None if isinstance(value, _Failed) else value

    def _section(self, node: Node, cls: type[T], path: str) -> T | _Failed:
        if not isinstance(node, MappingNode):
            self.issues.add(f"{path}: expected settings (key: value), got {describe(node)}", node)
            return _FAILED
        fields = {item.key: item for item in declared(cls)}
        ok = True
        values: dict[str, Any] = {}
        for key, value_node in node.value:
            item = fields.get(key.value)
            if item is None:
                self.issues.add(f"unknown key '{cut(key.value)}'{perhaps(key.value, fields)}", key)
                ok = False
                continue
            where = f"{path}.{item.key}" if path else item.key
            self.nodes[where] = value_node
            value = self._value(value_node, item.type, item.rule, where)
            if isinstance(value, _Failed):
                ok = False
            else:
                values[item.name] = value
        given = {key.value for key, _ in node.value}
        missing = [item for item in fields.values() if item.required and item.key not in given]
        for item in missing:
            where = f"'{item.key}'" + (f" in '{path}'" if path else "")
            self.issues.add(f"missing key {where}: {item.rule.doc}", node)
        return cls(**values) if ok and not missing else _FAILED

    def _value(self, node: Node, kind: Any, rule: Rule, where: str) -> Any:
        if rule.detect and isinstance(node, ScalarNode) and node.value == "detect":
            detected = self._facts(rule.detect)
            if _allowed(kind) and detected not in _allowed(kind):
                self.issues.add(f"{where}: this machine's is '{detected}', which edgekit cannot build for", node)
                return _FAILED
            return detected
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            return self._section(node, kind, where)
        if get_origin(kind) is tuple:
            return self._list(node, get_args(kind)[0], rule, where)
        if get_origin(kind) in (Union, types.UnionType):
            return self._one_of(node, get_args(kind), rule, where)
        if get_origin(kind) is Literal:
            return self._choice(node, get_args(kind), where)
        return self._scalar(node, kind, rule, where)

    def _list(self, node: Node, kind: Any, rule: Rule, where: str) -> Any:
        if not isinstance(node, SequenceNode):
            self.issues.add(f"{where}: expected a list, got {describe(node)}", node)
            return _FAILED
        values = [self._value(item, kind, rule, f"{where}[{index}]") for index, item in enumerate(node.value)]
        return _FAILED if any(isinstance(value, _Failed) for value in values) else tuple(values)

    def _one_of(self, node: Node, kinds: tuple[Any, ...], rule: Rule, where: str) -> Any:
        if type(None) in kinds and _is_null(node):
            return None
        rest = [kind for kind in kinds if kind is not type(None)]
        for kind in rest:
            if _fits(node, kind):
                return self._value(node, kind, rule, where)
        if len(rest) == 1:
            return self._value(node, rest[0], rule, where)
        words = " or ".join(expected(kind, rule) for kind in rest)
        self.issues.add(f"{where}: expected {words}, got {describe(node)}", node)
        return _FAILED

    def _choice(self, node: Node, choices: tuple[Any, ...], where: str) -> Any:
        if isinstance(node, ScalarNode):
            for choice in choices:
                if node.value == str(choice) and not (isinstance(choice, int) and node.style is not None):
                    return choice
        guess = perhaps(node.value, [str(c) for c in choices]) if isinstance(node, ScalarNode) else ""
        words = ("one of " if len(choices) > 1 else "") + ", ".join(str(choice) for choice in choices)
        self.issues.add(f"{where}: expected {words}, got {describe(node)}{guess}", node)
        return _FAILED

    def _scalar(self, node: Node, kind: Any, rule: Rule, where: str) -> Any:
        if not _fits(node, kind) and not (kind is str and rule.verbatim and _is_number(node)):
            self.issues.add(f"{where}: expected {expected(kind, rule)}, got {describe(node)}", node)
            return _FAILED
        if kind is bool:
            return node.value.lower() in _TRUE
        if kind is str:
            return self._text(node, rule, where)
        digits = node.value.replace("_", "")
        # An endless row of digits is out of any range, and Python would refuse to make an int of it.
        value = int(digits) if kind is int and len(digits) <= _MOST_DIGITS else float(digits)
        low, high = rule.low, rule.high
        if (low is not None and value < low) or (high is not None and value > high):
            self.issues.add(f"{where}: {cut(node.value)} is out of range, expected {_range(low, high)}", node)
            return _FAILED
        return value

    def _text(self, node: Node, rule: Rule, where: str) -> Any:
        text: str = node.value
        if not text.strip() and not rule.own:
            self.issues.add(f"{where}: must not be empty", node)
            return _FAILED
        if rule.pattern and not re.fullmatch(rule.pattern, text):
            self.issues.add(f"{where}: expected {rule.form or rule.pattern}, got '{cut(text)}'", node)
            return _FAILED
        return text


def from_plain(cls: type[T], data: Mapping[str, Any], where: str) -> T:
    """Settings from plain dicts, lists and scalars (a manifest's JSON); ``where`` stands for the file in issues.

    Raises:
        ConfigError: with every issue.
    """
    issues = Issues()
    value = Reader(issues).read(node_of(data, where), cls)
    if value is None:
        raise ConfigError(issues.lines())
    return value


def node_of(value: Any, where: str) -> Node:
    """A node for a plain value; it has a file name but no line."""
    mark = Mark(where, 0, -1, -1, None, 0)  # line -1: place_of gives 0, which is not shown
    if isinstance(value, Mapping):
        return MappingNode(
            f"{_TAG}map", [(ScalarNode(f"{_TAG}str", str(k), mark), node_of(v, where)) for k, v in value.items()], mark
        )
    if isinstance(value, list | tuple):
        return SequenceNode(f"{_TAG}seq", [node_of(item, where) for item in value], mark)
    if value is None:
        return ScalarNode(f"{_TAG}null", "null", mark)
    if isinstance(value, bool):
        return ScalarNode(f"{_TAG}bool", str(value).lower(), mark)
    if isinstance(value, int | float):
        return ScalarNode(f"{_TAG}{'int' if isinstance(value, int) else 'float'}", repr(value), mark)
    return ScalarNode(f"{_TAG}str", str(value), mark, style='"')


def perhaps(word: str, known: Mapping[str, Declared] | list[str] | tuple[str, ...]) -> str:
    """``, perhaps 'x'`` with the nearest known word, or nothing."""
    near = get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f", perhaps '{near[0]}'" if near else ""


def describe(node: Node) -> str:
    """What a node holds, in words."""
    if isinstance(node, MappingNode):
        return "settings (key: value)"
    if isinstance(node, SequenceNode):
        return "a list"
    if _is_null(node):
        return "nothing"
    return f"{'the number ' if _is_number(node) else ''}'{cut(node.value)}'"


def expected(kind: Any, rule: Rule) -> str:
    """What a type asks for, in words."""
    if get_origin(kind) is Literal:
        return " or ".join(f"'{choice}'" for choice in get_args(kind))
    if get_origin(kind) is tuple:
        return "a list"
    if kind is str:
        return rule.form or "text (in quotes if it looks like something else)"
    return {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "settings (key: value)")


def _fits(node: Node, kind: Any) -> bool:
    if get_origin(kind) is tuple:
        return isinstance(node, SequenceNode)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return isinstance(node, MappingNode)
    if not isinstance(node, ScalarNode):
        return False
    if get_origin(kind) is Literal:
        return any(node.value == str(choice) for choice in get_args(kind))
    plain_style = node.style is None or node.style == ""
    if kind is bool:
        return plain_style and node.value.lower() in _TRUE | _FALSE
    if kind is int:
        return plain_style and bool(_INT.fullmatch(node.value))
    if kind is float:
        return plain_style and bool(_FLOAT.fullmatch(node.value))
    return bool(node.tag == f"{_TAG}str")


def _is_number(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.tag in (f"{_TAG}int", f"{_TAG}float")


def _is_null(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.tag == f"{_TAG}null"


def _allowed(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) is Literal else ()


def _range(low: float | None, high: float | None) -> str:
    if high is None:
        return f"at least {low:g}"
    return f"at most {high:g}" if low is None else f"{low:g} to {high:g}"


def cut(text: str) -> str:
    """At most 60 characters of what somebody wrote, on one line and without what a terminal would act on."""
    text = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text[:61])
    return text if len(text) <= 60 else text[:57] + "..."
