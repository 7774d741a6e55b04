"""``edgekit lock``: the exact packages of a device, hashed, inside the bundle that was proven with them.

locked = lock(Path("build/rpi4"), with_wheels=True)
"""

from __future__ import annotations

from edgekit.lock.requirements import REQUIREMENTS, WHEELS, Locked, lock, locked_wheel, pins_of

__all__ = ["REQUIREMENTS", "WHEELS", "Locked", "lock", "locked_wheel", "pins_of"]
