"""The command line: the only place that prints and exits.

Each module here holds related commands; heavy imports are inside the commands, so that ``--help`` and ``run`` start
fast.
Exit codes: 0 done, 1 a check failed, 2 bad input or usage, 3 a device or stream problem, 130 interrupted.
"""

from edgekit.cli.app import main

__all__ = ["main"]
