"""What runs on the emulated board (``python3 -m edgekit.emulate.inside``): device-side code only.

verify BUNDLE ENGINE N OUT   on the first N goldens; writes OUT/verify-ENGINE.json and OUT/answers-ENGINE.npy
invoke MODEL ENGINE N        loads a model file and runs it N times, one thread, for the instruction counter
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def verify(bundle: Path, engine: str, count: int, out: Path) -> None:
    import numpy as np

    from edgekit.bundle.golden import Expected
    from edgekit.evaluate.verify import verify as verify_here

    def keep(answers: Expected) -> None:
        np.save(out / f"answers-{engine}.npy", answers.raw)

    report = verify_here(bundle, engines=[engine], threads=1, count=count, keep=keep)
    (out / f"verify-{engine}.json").write_text(json.dumps(report.to_dict()), "utf-8")


def invoke(model: Path, name: str, count: int) -> None:
    import numpy as np

    from edgekit import engines

    engine = engines.open(model, name, threads=1)
    engine.input[...] = np.random.default_rng(0).integers(0, 256, engine.input.shape, np.uint8)
    for _ in range(count):
        engine.invoke()


def main(arguments: list[str]) -> int:
    match arguments:
        case ["verify", bundle, engine, count, out]:
            verify(Path(bundle), engine, int(count), Path(out))
        case ["invoke", model, engine, count]:
            invoke(Path(model), engine, int(count))
        case _:
            return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
