"""A pickle interpreter that cannot run anything: it knows a table of names, and calls nothing else.

Pickles are programs. Python's own unpickler imports what they name, allocates what they ask for and hashes what they
nest; all three are ways to hurt the reader. This one builds plain containers and looks every named function up in a
table given by the caller; a name that is not in it is an error that says so. Memory and time are bounded by the file's
size and ``MAX_OPERATIONS``. The opcodes are those of ``pickletools`` in the standard library, protocols 0 to 5,
without the extension registry, out-of-band buffers and old-style instances.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from edgekit.checkpoints.pickle_names import Globals, Name, Opaque
from edgekit.errors import CheckpointError

# A checkpoint with its optimizer's state takes about 30,000.
MAX_OPERATIONS = 500_000
# The longest integer in a real file is torch's 10-byte magic number.
MAX_INTEGER_BYTES = 64

_MARK = object()


class Machine:
    """Interprets the pickle at ``position`` of ``data``; afterwards ``position`` is behind its STOP."""

    def __init__(
        self,
        data: bytes,
        names: Globals,
        position: int = 0,
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self.data, self.position = data, position
        self.names, self.persistent = names, persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.operations_left = MAX_OPERATIONS

    def run(self) -> Any:
        """The pickled object.

        Raises:
            CheckpointError: truncated, malformed, too long, or it names something outside the table.
        """
        self.stack, self.memo = [], {}
        try:
            while self.operations_left:
                self.operations_left -= 1
                code = self.take(1)
                if code == b".":
                    return self.pop()
                operation = OPERATIONS.get(code)
                if operation is None:
                    raise CheckpointError(f"refused: pickle opcode {code!r} at byte {self.position - 1}")
                operation(self)
        except CheckpointError:
            raise
        except (IndexError, KeyError, ValueError, TypeError, AttributeError, struct.error, OverflowError) as error:
            raise CheckpointError(f"broken pickle near byte {self.position}: {error}") from error
        raise CheckpointError(f"refused: a pickle of more than {MAX_OPERATIONS} operations")

    # -- reading -------------------------------------------------------------------------------------------------

    def take(self, count: int) -> bytes:
        end = self.position + count
        if count < 0 or end > len(self.data):
            raise CheckpointError(f"truncated: the pickle ends at byte {len(self.data)}, more was announced")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def line(self) -> bytes:
        end = self.data.find(b"\n", self.position)
        if end < 0:
            raise CheckpointError("truncated: the pickle ends inside a line")
        return self.take(end + 1 - self.position)[:-1]

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    # -- the stack -----------------------------------------------------------------------------------------------

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a mark where a value was expected")
        return value

    def top(self) -> Any:
        return self.stack[-1]

    def pop_to_mark(self) -> list[Any]:
        for at in range(len(self.stack) - 1, -1, -1):
            if self.stack[at] is _MARK:
                items = self.stack[at + 1 :]
                del self.stack[at:]
                return items
        raise ValueError("no mark")

    # -- what the operations do ----------------------------------------------------------------------------------

    def set_items(self, items: list[Any]) -> None:
        target = self.top()
        if isinstance(target, dict):
            for key, value in zip(items[::2], items[1::2], strict=True):
                # Hashing a deeply nested tuple overflows the C stack, so only plain keys are hashed by value.
                target[key if isinstance(key, str | int | float | bytes | None) else Opaque("key")] = value
        elif not isinstance(target, Opaque):
            raise ValueError("items for something that is not a dict")

    def append_items(self, items: list[Any]) -> None:
        target = self.top()
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Opaque):
            raise ValueError("items for something that is not a list")

    def call(self, function: Any, arguments: Any, keywords: Any = None) -> Any:
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise ValueError("a call of something that is not a known function")
        return function.handler(*arguments, **(keywords or {}))

    def build(self) -> None:
        state = self.pop()
        target = self.top()
        if hasattr(target, "build"):
            target.build(state)
        elif not isinstance(target, dict | list):  # an OrderedDict's attributes, such as _metadata, are of no use
            raise ValueError("state for something that takes none")

    def new(self) -> None:
        arguments = self.pop()
        self.push(self.call(self.pop(), arguments))

    def new_with_keywords(self) -> None:
        keywords, arguments = self.pop(), self.pop()
        self.push(self.call(self.pop(), arguments, keywords))

    def named(self) -> None:
        module, name = self.line().decode(), self.line().decode()
        self.push(self.names.find(module, name))

    def named_on_stack(self) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("a global that is not named by text")
        self.push(self.names.find(module, name))

    def persist(self, identity: Any) -> None:
        if self.persistent is None:
            raise ValueError("a reference to something outside the pickle")
        self.push(self.persistent(identity))

    def integer_line(self, text: bytes) -> None:
        if text in (b"00", b"01"):  # protocol 0 spells booleans this way
            self.push(text == b"01")
        else:
            self.push(int(text[:MAX_INTEGER_BYTES].removesuffix(b"L")))

    def long(self, count: int) -> None:
        if count > MAX_INTEGER_BYTES:
            raise ValueError(f"an integer of {count} bytes")
        self.push(int.from_bytes(self.take(count), "little", signed=True))

    def text_line(self) -> None:
        quoted = self.line()
        if len(quoted) < 2 or quoted[0] != quoted[-1]:
            raise ValueError("a string without quotes")
        self.push(quoted[1:-1].decode("latin-1"))

    def tuple_of(self, count: int) -> None:
        items = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(items)))


def _set_item(machine: Machine) -> None:
    value, key = machine.pop(), machine.pop()
    machine.set_items([key, value])


def _append(machine: Machine) -> None:
    item = machine.pop()
    machine.append_items([item])


def _dict_from_mark(machine: Machine) -> None:
    items = machine.pop_to_mark()
    machine.push({})
    machine.set_items(items)


def _text(layout: str) -> Callable[[Machine], None]:
    return lambda m: m.push(m.take(m.number(layout)).decode("utf-8", "surrogatepass"))


def _bytes(layout: str) -> Callable[[Machine], None]:
    return lambda m: m.push(m.take(m.number(layout)))


def _latin(layout: str) -> Callable[[Machine], None]:
    return lambda m: m.push(m.take(m.number(layout)).decode("latin-1"))


OPERATIONS: dict[bytes, Callable[[Machine], Any]] = {
    b"\x80": lambda m: m.take(1),  # PROTO
    b"\x95": lambda m: m.take(8),  # FRAME
    b"(": lambda m: m.push(_MARK),
    b"0": lambda m: m.stack.pop(),
    b"1": lambda m: m.pop_to_mark(),
    b"2": lambda m: m.push(m.top()),
    # Constants and numbers.
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"I": lambda m: m.integer_line(m.line()),
    b"L": lambda m: m.integer_line(m.line()),
    b"J": lambda m: m.push(m.number("<i")),
    b"K": lambda m: m.push(m.number("<B")),
    b"M": lambda m: m.push(m.number("<H")),
    b"\x8a": lambda m: m.long(m.number("<B")),
    b"\x8b": lambda m: m.long(m.number("<i")),
    b"F": lambda m: m.push(float(m.line())),
    b"G": lambda m: m.push(m.number(">d")),
    # Text and bytes. Python 2's strings are text here: it kept names in them.
    b"S": lambda m: m.text_line(),
    b"T": _latin("<i"),
    b"U": _latin("<B"),
    b"V": lambda m: m.push(m.line().decode("raw-unicode-escape")),
    b"X": _text("<I"),
    b"\x8c": _text("<B"),
    b"\x8d": _text("<Q"),
    b"B": _bytes("<I"),
    b"C": _bytes("<B"),
    b"\x8e": _bytes("<Q"),
    b"\x96": _bytes("<Q"),
    # Containers.
    b"}": lambda m: m.push({}),
    b"]": lambda m: m.push([]),
    b")": lambda m: m.push(()),
    b"\x8f": lambda m: m.push([]),  # a set; its members are never looked up
    b"d": _dict_from_mark,
    b"l": lambda m: m.push(m.pop_to_mark()),
    b"t": lambda m: m.push(tuple(m.pop_to_mark())),
    b"\x91": lambda m: m.push(m.pop_to_mark()),
    b"\x85": lambda m: m.tuple_of(1),
    b"\x86": lambda m: m.tuple_of(2),
    b"\x87": lambda m: m.tuple_of(3),
    b"s": _set_item,
    b"u": lambda m: m.set_items(m.pop_to_mark()),
    b"a": _append,
    b"e": lambda m: m.append_items(m.pop_to_mark()),
    b"\x90": lambda m: m.append_items(m.pop_to_mark()),
    # The memo.
    b"g": lambda m: m.push(m.memo[int(m.line()[:20])]),
    b"h": lambda m: m.push(m.memo[m.number("<B")]),
    b"j": lambda m: m.push(m.memo[m.number("<I")]),
    b"p": lambda m: m.memo.__setitem__(int(m.line()[:20]), m.top()),
    b"q": lambda m: m.memo.__setitem__(m.number("<B"), m.top()),
    b"r": lambda m: m.memo.__setitem__(m.number("<I"), m.top()),
    b"\x94": lambda m: m.memo.__setitem__(len(m.memo), m.top()),
    # Names and calls.
    b"c": lambda m: m.named(),
    b"\x93": lambda m: m.named_on_stack(),
    b"R": lambda m: m.new(),
    b"\x81": lambda m: m.new(),
    b"\x92": lambda m: m.new_with_keywords(),
    b"b": lambda m: m.build(),
    b"P": lambda m: m.persist(m.line().decode()),
    b"Q": lambda m: m.persist(m.pop()),
}
