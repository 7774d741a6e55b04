"""The sections of report.html about what was built, how well it answers and how fast: record → markup, or nothing.

Each function returns empty markup where the record does not hold what it shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgekit.evaluate.gate import Condition
from edgekit.report import charts, emulated
from edgekit.report.flips import Flip, confusions, flips, thumbnail
from edgekit.report.markup import Child, Html, join, measured, table, tag
from edgekit.report.record import BuildRecord, CalibrationFacts
from edgekit.report.verdict import main_format

_SHOWN_FLIPS = 18
_SHOWN_CONFUSIONS = 12
_INTERVALS = (
    "Accuracy: Wilson's score interval. Drop: both models saw the same pictures, so its interval is that of paired "
    "proportions (Agresti and Min, 2005)."
)
NAMES = {"float": "float reference", "onnx": "model.onnx", "tflite": "model.tflite"}


def section(title: str, anchor: str, *children: Html, lead: str = "") -> Html:
    """One card of the page; empty if all of its children are."""
    if not any(children):
        return Html("")
    said = tag("p", lead, class_="lead") if lead else Html("")
    return tag("section", tag("h2", title), said, *children, id=anchor)


def built(record: BuildRecord) -> Html:
    """Checkpoint, target, settings and files with their hashes."""
    source, target = record.source, record.target
    rows: list[tuple[Child, Child]] = [
        ("Checkpoint", join([source.name, tag("br"), tag("code", source.sha256)])),
        ("Network", f"{source.architecture} ({source.family}), {source.params / 1e6:.3f} M parameters, "
                    f"{source.macs / 1e6:.1f} M multiply-accumulates, {len(record.labels)} classes"),
        ("Target", f"{target.title or target.name}: {target.cpu.cores} × {target.cpu.model} at "
                   f"{target.cpu.clock_mhz / 1000:g} GHz, {target.engine.preferred}, {target.threads} threads"),
        ("Precision", record.precision),
    ]  # fmt: skip
    if record.settings:
        rows.append(("Method", ", ".join(f"{key} {value}" for key, value in record.settings.items())))
    if record.calibration is not None:
        rows.append(("Calibration", _calibration(record.calibration)))
    if record.kept_float is not None:
        rows.append(("Kept in float", ", ".join(record.kept_float.together.layers)))
    files = [
        (a.name, a.format or "–", a.precision or "–", size(a.bytes), tag("code", a.sha256)) for a in record.artifacts
    ]
    warnings = record.calibration.warnings if record.calibration is not None else ()
    missed = record.gate is not None and not record.gate.passed
    return section(
        "What was built",
        "built",
        table(("", ""), rows, numbers=9, class_="kv") if rows else Html(""),
        tag("h3", "Files, which were not written" if missed else "Files") if files else Html(""),
        table(("file", "format", "precision", "size", "sha256"), files, numbers=9) if files else Html(""),
        bullets("Calibration set", warnings),
        bullets("Rewrites that refused", record.refused),
        bullets("Notes", record.notes),
    )


def _calibration(own: CalibrationFacts) -> Html:
    said: list[Child] = [f"{own.used} of {own.available} pictures from {own.source}"]
    if own.classes:
        least, most = min(own.classes.values()), max(own.classes.values())
        span = str(most) if least == most else f"{least} to {most}"
        said.append(f"; {len(own.classes)} {'class' if len(own.classes) == 1 else 'classes'}, {span} of each")
    if own.sha256:
        said += [tag("br"), tag("code", own.sha256)]
    return join(said)


def accuracy(record: BuildRecord) -> Html:
    """Top-1, top-5, drop, agreement and noise per model, the gate, and parity between formats."""
    found = record.accuracy
    body: list[Html] = []
    if found is not None:
        rows: list[Sequence[Child]] = []
        for name, engine in found.engines.items():
            model = found.models.get(name)
            drop, interval = found.drop_pp.get(name), found.drop_ci95.get(name)
            noise = found.sqnr_db.get(name)
            rows.append(
                (
                    NAMES.get(name, name),
                    engine,
                    None if model is None else f"{model.top1:.2f} %",
                    None if model is None else f"{model.ci95[0]:.2f} – {model.ci95[1]:.2f}",
                    None if model is None else f"{model.top5:.2f} %",
                    None if drop is None else f"{drop:+.2f} pp",
                    None if interval is None else f"{interval[0]:+.2f} … {interval[1]:+.2f}",
                    None if name not in found.agreement else f"{found.agreement[name]:.2f} %",
                    None if noise is None else decibels(noise),
                )
            )
        head = ("model", "engine", "top-1", "95 % interval", "top-5", "drop", "95 %, paired", "agreement", "score SQNR")
        body.append(table(*measured(head, rows), numbers=2))
        where = f" from {record.data}" if record.data else ""
        skipped = f"; {len(found.unreadable)} unreadable ones skipped" if found.unreadable else ""
        body.append(
            tag("p", f"{found.n} pictures{where}{skipped}. {_INTERVALS if found.models else ''}", class_="note")
        )  # fmt: skip
        body.append(bullets("Mind", found.notes))
    if record.gate is not None and record.gate.judged:
        rows = [
            (NAMES.get(c.model, c.model), *_condition(c),
             tag("span", "pass" if c.passed else "fail", class_=f"pill {'good' if c.passed else 'bad'}"))
            for c in record.gate.judged
        ]  # fmt: skip
        body += [tag("h3", "Accuracy gate"), table(("model", "figure", "measured", "limit", ""), rows, numbers=2)]
    body.append(_parity(record))
    if any(body):
        body.append(emulated.proof(record.emulated))
    if record.ablations:
        rows = [
            (
                a.method,
                number(a.drop_pp, "+.2f", " pp"),
                number(a.agreement, ".2f", " %"),
                number(a.sqnr_db, ".1f", " dB"),
            )
            for a in record.ablations
        ]
        body += [tag("h3", "What each method is worth"), table(("method", "drop", "agreement", "score SQNR"), rows)]
    return section("Accuracy and parity", "accuracy", *body)


_JUDGED = {
    "drop_pp": ("top-1 drop", " pp", "≤"),
    "agreement": ("agreement", " %", "≥"),
    "SQNR": ("score SQNR", " dB", "≥"),
}


def _condition(judged: Condition) -> tuple[str, str, str]:
    """What was judged, what was measured, what was asked."""
    name, unit, sign = _JUDGED.get(judged.name, (judged.name, "", ""))
    measured_ = "equal" if math.isinf(judged.measured) else f"{judged.measured:.2f}{unit}"
    return name, measured_, f"{sign} {judged.limit:g}{unit}"


def _parity(record: BuildRecord) -> Html:
    if not record.parity:
        return Html("")
    rows = [
        (
            p.what,
            str(p.n),
            number(p.top1_equal, ".2f", " %"),
            number(p.equal_outputs, ".2f", " %"),
            None if p.largest_step is None else str(p.largest_step),
            None if p.relative_error is None else f"{p.relative_error:.1e}",
        )
        for p in record.parity
    ]
    head = ("compared", "pictures", "same top-1", "equal outputs", "largest difference, steps", "relative error")
    return join([tag("h3", "Parity"), table(*measured(head, rows))])


def changed(record: BuildRecord) -> Html:
    """Scores against float, and the pictures whose answer changed."""
    found = record.accuracy
    if found is None or found.answers is None:
        return Html("")
    drawn = [
        tag(
            "figure",
            charts.scatter(points, "float score", f"{NAMES.get(name, name)} score"),
            tag("figcaption", f"{NAMES.get(name, name)}: {len(points)} scores; on the dashed line the two are equal."),
        )
        for name, points in found.answers.scatter.items()
        if len(points) and name in found.sqnr_db
    ]
    form = main_format(record)
    flipped = flips(found.answers, form)
    body: list[Html] = []
    if form in found.agreement:
        lost, gained = (sum(flip.kind == kind for flip in flipped) for kind in ("lost", "gained"))
        said = f"{len(flipped)} of {found.n} pictures get another answer from {NAMES[form]} than from float"
        if found.models:
            said += f": {lost} right before, {gained} right now, {len(flipped) - lost - gained} wrong both times"
        body.append(tag("p", f"{said}."))
    if flipped:
        pairs = confusions(flipped)
        rows = [(_label(record, a), _label(record, b), str(n)) for a, b, n in pairs[:_SHOWN_CONFUSIONS]]
        body.append(table(("float said", f"{record.precision} says", "pictures"), rows, numbers=2))
        if len(pairs) > _SHOWN_CONFUSIONS:
            body.append(tag("p", f"{len(pairs) - _SHOWN_CONFUSIONS} rarer changes are not shown.", class_="note"))
        body.append(tag("div", *(_picture(record, flip) for flip in flipped[:_SHOWN_FLIPS]), class_="flips"))
        if len(flipped) > _SHOWN_FLIPS:
            body.append(tag("p", f"{len(flipped) - _SHOWN_FLIPS} more are not shown.", class_="note"))
    return section(
        "What changed",
        "changed",
        tag("div", *drawn, class_="two") if drawn else Html(""),
        tag("h3", "Confusion changes and the pictures that flipped") if body else Html(""),
        *body,
    )


def _picture(record: BuildRecord, flip: Flip) -> Html:
    uri = thumbnail(flip.path)
    kinds = {"lost": ("bad", "lost"), "gained": ("good", "gained"), "other": ("", "changed")}
    tone, word = kinds[flip.kind]
    lines: list[Child] = [tag("span", word, class_=f"pill {tone}")]
    if flip.truth >= 0:
        lines += [tag("br"), "is ", tag("b", _label(record, flip.truth))]
    lines += [tag("br"), "float: ", _label(record, flip.before), tag("br"), f"{record.precision}: "]
    lines += [
        _label(record, flip.after),
        tag("br"),
        tag("span", *flip.path.parts[-2:-1], "/", flip.path.name, class_="mono"),
    ]
    image = Html("") if uri is None else tag("img", src=uri, alt=flip.path.name, loading="lazy")
    return tag("figure", image, tag("figcaption", *lines))


def _label(record: BuildRecord, index: int) -> Html:
    """A class by the first of its names; the full line is what a pointer resting on it shows."""
    line = record.labels[index] if 0 <= index < len(record.labels) else f"class {index}"
    return tag("bdi", line.split(",")[0], title=line)


def bullets(title: str, lines: Sequence[str]) -> Html:
    """A titled list; empty without lines."""
    return join([tag("h3", title), tag("ul", *(tag("li", line) for line in lines))]) if lines else Html("")


def size(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"


def number(value: float | None, form: str, unit: str = "") -> str | None:
    return None if value is None else f"{value:{form}}{unit}"


def decibels(value: float) -> str:
    return "equal" if math.isinf(value) and value > 0 else f"{value:.1f} dB"
