"""The command line: one thin file a command.

A command parses what was typed, calls the Python function that anyone could call, and prints the result: as a table,
or with ``--json`` as data. What it imports, it imports when it runs. An EdgepartError is printed as its one sentence.
"""

from edgepart.cli.main import main

__all__ = ["main"]
