"""A YAML file as a graph of nodes that know their line and column, read without trusting it.

PyYAML's composer stops short of building Python objects, so no tag can run code. What is refused here, each with its
place: a file that is missing, too large or not UTF-8, YAML that does not parse, nesting or aliases that would blow up,
duplicate keys. Values and keys are judged later, by ``convert.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

MAX_BYTES = 256 * 1024  # a profile is some 4 KB; what is a thousand times larger is not one
MAX_DEPTH = 16  # the deepest setting sits four levels down
MAX_NODES = 20_000  # after aliases are expanded


class Issues:
    """Issues in the order found, each ``file:line:column: what``; the same issue counts once."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int, int, str], None] = {}

    def add(self, what: str, node: Node | None = None, *, place: tuple[str, int, int] | None = None) -> None:
        """Notes ``what`` at a node's start, or at ``place``: (file, line, column), both counted from 1."""
        if node is not None:
            place = place_of(node)
        self._found[*(place or ("", 0, 0)), what] = None

    def __bool__(self) -> bool:
        return bool(self._found)

    def lines(self) -> list[str]:
        """All issues by file, line and column."""
        return [
            f"{file}:{line}:{column}: {what}" if line else (f"{file}: {what}" if file else what)
            for file, line, column, what in sorted(self._found)
        ]


def place_of(node: Node) -> tuple[str, int, int]:
    """(file, line, column) of a node's first character, counted from 1."""
    mark = node.start_mark
    return (mark.name, mark.line + 1, mark.column + 1) if mark else ("", 0, 0)


def shown(path: Path) -> str:
    """The path as a person would type it: relative where it lies below the current directory."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except (OSError, ValueError, RuntimeError):  # elsewhere; or a name that cannot be; or links in a circle
        return str(path)


def is_file(path: Path) -> bool:
    """Like ``path.is_file()``, and False for a name that no file can have (too long, a zero byte)."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


class _Loader(yaml.SafeLoader):
    """Composes nodes, but gives up on nesting before Python's own stack does."""

    depth = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        self.depth += 1
        if self.depth > 2 * MAX_DEPTH:
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "nested too deeply", event.start_mark)
        node: Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


def read(path: Path, issues: Issues) -> MappingNode | None:
    """The top-level mapping of a YAML file, or None with at least one issue noted."""
    name = shown(path)
    try:
        if not path.is_file():
            what = "is a folder, not a file" if path.is_dir() else "no such file"
            issues.add(what, place=(name, 0, 0))
            return None
        if path.stat().st_size > MAX_BYTES:
            issues.add(f"larger than {MAX_BYTES // 1024} KB: not a settings file", place=(name, 0, 0))
            return None
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        issues.add(f"cannot be read: {getattr(error, 'strerror', None) or error}", place=(name, 0, 0))
        return None
    return parse(data, name, issues)


def parse(data: bytes, name: str, issues: Issues) -> MappingNode | None:
    """Like :func:`read`, from memory; ``name`` stands for the file in issues."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig", "replace")
        issues.add("not UTF-8 text", place=(name, *_line_column(before)))
        return None
    try:
        root = _compose(text, name)
    except yaml.reader.ReaderError as error:
        place = (name, *_line_column(text[: error.position]))
        issues.add(f"a character that YAML does not allow: U+{ord(text[error.position]):04X}", place=place)
        return None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = (name, mark.line + 1, mark.column + 1) if mark else (name, 1, 1)
        what = error.problem or error.context or "cannot be parsed"
        issues.add(f"not valid YAML: {what}", place=at)
        return None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        issues.add(f"not valid YAML: {error}", place=(name, 1, 1))
        return None
    if root is None:
        issues.add("the file is empty", place=(name, 1, 1))
        return None
    if not isinstance(root, MappingNode):
        issues.add("expected settings (key: value) at the top level", root)
        return None
    return root if _sound(root, issues) else None


def _compose(text: str, name: str) -> Node | None:
    loader = _Loader(text)
    loader.name = name  # what every mark, and so every issue, calls the file
    try:
        node: Node | None = loader.get_single_node()
        return node
    finally:
        loader.dispose()


def _line_column(before: str) -> tuple[int, int]:
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _children(node: Node) -> Iterator[Node]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, SequenceNode):
        yield from node.value


def _sound(root: MappingNode, issues: Issues) -> bool:
    """Whether the graph is a tree of bearable size, with text keys that occur once."""
    try:
        if _size(root, {}, []) > MAX_NODES:
            issues.add("too many values once aliases are expanded", root)
            return False
    except _CycleError as error:
        issues.add("an alias that contains itself", error.node)
        return False
    ok = True
    for node in _mappings(root, set()):
        seen: dict[str, Node] = {}
        for key, _ in node.value:
            if not isinstance(key, ScalarNode):
                issues.add("a key must be plain text", key)
                ok = False
            elif key.value in seen:
                first = place_of(seen[key.value])
                issues.add(f"key {key.value[:60]!r} is given twice, first in line {first[1]}", key)
                ok = False
            else:
                seen[key.value] = key
    return ok


class _CycleError(Exception):
    def __init__(self, node: Node) -> None:
        self.node = node


def _size(node: Node, known: dict[int, int], open_nodes: list[int]) -> int:
    """Nodes below ``node`` with aliases expanded; each shared node is counted once and multiplied."""
    if id(node) in known:
        return known[id(node)]
    if id(node) in open_nodes:
        raise _CycleError(node)
    open_nodes.append(id(node))
    total = 1 + sum(_size(child, known, open_nodes) for child in _children(node))
    open_nodes.pop()
    known[id(node)] = total
    return total


def _mappings(node: Node, seen: set[int]) -> Iterator[MappingNode]:
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, MappingNode):
        yield node
    for child in _children(node):
        yield from _mappings(child, seen)
