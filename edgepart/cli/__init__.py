"""The command line: one thin file a command."""

from edgepart.cli.main import main

__all__ = ["main"]
