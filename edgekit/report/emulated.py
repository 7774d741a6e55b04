"""What emulated boards said, in report.html: evidence → markup between marks, so that a later command can replace it.

A mark is an HTML comment. Text in a report is escaped, so that no label or file name can be one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgekit.emulate.count import Count
from edgekit.emulate.emulated import Emulated
from edgekit.evaluate.verify_report import EngineCheck
from edgekit.report import charts
from edgekit.report.markup import Child, Html, join, table, tag

_PROOF, _COUNTS = "emulated-proof", "emulated-counts"
_COLOURS = ("var(--blue)", "var(--amber)", "var(--green)", "var(--red)")
_WHAT = (
    "one thread, one picture: caches, pipelines and memory are left out, so this is no time; it "
    "compares engines and graphs on one core, and shows a regression. Floor: the network's multiply-accumulates over "
    "the most that one instruction of the core does (SDOT 16 of int8, SMLAL 8, FMLA 4 of fp32); no program needs fewer."
)


def proof(evidence: Emulated | None) -> Html:
    """Every engine on every emulated core: goldens, top-1, the largest difference from the recorded answers."""
    content = Html("")
    if evidence is not None and evidence.proofs:
        head = ("core", "engine", "goldens", "same top-1", "of clear ones", "largest difference, steps", "allowed", "")
        problems = [problem for _, check in evidence.proofs for problem in check.problems]
        content = join(
            [
                tag("h3", "On the target's own core, emulated"),
                table(head, [_check(*one) for one in evidence.proofs], numbers=2),
                tag("ul", *(tag("li", problem) for problem in problems)) if problems else Html(""),
            ]
        )
    return _between(_PROOF, content)


def counts(evidence: Emulated | None) -> Html:
    """Instructions of one inference on the target's core, as bars above their floor and as figures."""
    content = Html("")
    if evidence is not None and (evidence.counts or evidence.remarks):
        head = ("core", "engine", "model", "M instructions", "M loads and stores", "MACs an instruction", "× floor")
        rows = [
            (one.cpu, f"{one.engine} {one.version}".rstrip(), one.model, f"{one.instructions:.1f}", f"{one.memory:.1f}",
             _figure(one.macs_per_instruction), _figure(one.times_floor))
            for one in evidence.counts
        ]  # fmt: skip
        cores = ", ".join(dict.fromkeys(one.cpu for one in evidence.counts)) or "the target's core"
        qemus = ", ".join(dict.fromkeys(f"qemu {one.qemu}".rstrip() for one in evidence.counts))
        content = join(
            [
                tag("h3", f"What one inference executes on {cores}, emulated"),
                charts.horizontal_bars(list(_bars(evidence.counts)), "million instructions"),
                table(head, rows, numbers=3) if rows else Html(""),
                tag("p", f"Counted under {qemus}, {_WHAT}", class_="note") if rows else Html(""),
                *(tag("p", remark, class_="note") for remark in evidence.remarks),
            ]
        )
    return _between(_COUNTS, content)


def replaced(page: str, evidence: Emulated) -> str | None:
    """A finished page with other evidence in it; None if it has no places for it (an older or a foreign page)."""
    for name, made in ((_PROOF, proof(evidence)), (_COUNTS, counts(evidence))):
        begin, end = _marks(name)
        if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
            return None
        before, _, rest = page.partition(begin)
        page = before + made + rest.partition(end)[2]
    return page


def _check(cpu: str, check: EngineCheck) -> tuple[Child, ...]:
    verdict = ("good", "proven") if check.passed else ("bad", "refused")
    said = tag("span", verdict[1], class_=f"pill {verdict[0]}")
    return (
        cpu,
        f"{check.engine} {check.version}",
        str(check.goldens),
        str(check.same_top1),
        f"{check.clear_held} of {check.clear}",
        f"{check.worst:g}",
        f"{check.tolerance:g}",
        said,
    )


def _bars(found: Sequence[Count]) -> Iterator[tuple[str, float, str, str]]:
    engines = list(dict.fromkeys((one.engine, one.model) for one in found))
    for cpu in dict.fromkeys(one.cpu for one in found):
        own = [one for one in found if one.cpu == cpu]
        # A model kept in float beside the bundle's own has another floor; each is drawn once.
        for floor in sorted({one.floor for one in own if one.floor is not None}):
            yield f"floor: {cpu}", floor, f"{floor:.1f} M", "var(--teal)"
        for one in own:
            colour = _COLOURS[engines.index((one.engine, one.model)) % len(_COLOURS)]
            times = "" if one.times_floor is None else f", {one.times_floor:.1f} × floor"
            yield f"{one.engine}: {one.model}", one.instructions, f"{one.instructions:.1f} M{times}", colour


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}"


def _marks(name: str) -> tuple[str, str]:
    return f"<!--{name}-->", f"<!--/{name}-->"


def _between(name: str, content: Html) -> Html:
    begin, end = _marks(name)
    return Html(f"{begin}{content}{end}")
