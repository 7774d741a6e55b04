"""How one setting is declared: its type is the dataclass annotation, everything else is a :class:`Rule`.

The same declaration drives three things, so that they cannot drift apart: the reader (``convert.py``), the JSON
Schema for editors (``schema.py``) and what ``edgekit targets show`` prints.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, get_type_hints

_RULE = "edgekit.rule"


@dataclass(frozen=True, slots=True)
class Rule:
    """What may stand in a setting, beyond its type.

    ``low`` and ``high`` are inclusive bounds of a number (or of every number in a list); ``pattern`` a regular
    expression that a whole text must match and ``form`` its description in words; ``key`` the spelling in YAML where
    it is not the attribute's name; ``detect`` the fact of the running machine that the word ``detect`` stands for;
    ``verbatim`` takes an unquoted number as the text it is written as (a version such as 3.10);
    ``own`` marks what a profile never takes over from the one it extends; ``path`` a text that names a file or folder.
    """

    doc: str
    low: float | None = None
    high: float | None = None
    pattern: str | None = None
    form: str | None = None
    key: str | None = None
    detect: str | None = None
    own: bool = False
    path: bool = False
    verbatim: bool = False


def setting(
    doc: str,
    default: Any = dataclasses.MISSING,
    *,
    low: float | None = None,
    high: float | None = None,
    pattern: str | None = None,
    form: str | None = None,
    key: str | None = None,
    detect: str | None = None,
    own: bool = False,
    path: bool = False,
    verbatim: bool = False,
) -> Any:
    """Declares one field of a settings dataclass; without ``default`` the setting is required."""
    rule = Rule(doc, low, high, pattern, form, key, detect, own, path, verbatim)
    return dataclasses.field(default=default, metadata={_RULE: rule})


def section(cls: type) -> Any:
    """Declares a group of settings that may be left out: the default is ``cls()``, all of its own defaults."""
    doc = (cls.__doc__ or "").strip().split("\n")[0]
    return dataclasses.field(default_factory=cls, metadata={_RULE: Rule(doc)})


@dataclass(frozen=True, slots=True)
class Declared:
    """A field as declared: attribute name, key in YAML, resolved type, rule, and whether it must be given."""

    name: str
    key: str
    type: Any
    rule: Rule
    required: bool
    default: Any


def declared(cls: type[Any]) -> tuple[Declared, ...]:
    """The settings of a dataclass in the order in which they are declared."""
    key: Any = cls
    return _declared(key)


@cache
def _declared(cls: Any) -> tuple[Declared, ...]:
    hints = get_type_hints(cls)
    found = []
    for field in dataclasses.fields(cls):
        rule = field.metadata.get(_RULE)
        if rule is None:
            continue
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        required = default is dataclasses.MISSING
        found.append(Declared(field.name, rule.key or field.name, hints[field.name], rule, required, default))
    return tuple(found)


def plain(value: Any) -> Any:
    """A settings dataclass as dicts, lists and scalars under the YAML keys; ``convert`` reads it back unchanged."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.key: plain(getattr(value, item.name)) for item in declared(type(value))}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


def walk(cls: type, prefix: str = "") -> Iterator[tuple[str, Declared]]:
    """Every setting below ``cls`` with its dotted path (``cpu.clock_mhz``), depth first."""
    for item in declared(cls):
        path = f"{prefix}{item.key}"
        if isinstance(item.type, type) and dataclasses.is_dataclass(item.type):
            yield from walk(item.type, f"{path}.")
        else:
            yield path, item
