"""Where results go. Each sink is a module of its own, imported only when it is used."""

from edgekit.runtime.sinks.base import Fan, Sink

__all__ = ["Fan", "Sink"]
