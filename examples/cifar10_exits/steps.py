"""Commands that are not run again once they are done."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


class Steps:
    """Runs ``edgepart`` commands in one folder, and keeps what they have made.

    A command runs again where its words are others than those that made its output, or what it reads has changed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._record = folder, folder / "steps.json"
        self._done: dict[str, str] = {}
        if self._record.is_file():
            self._done = json.loads(self._record.read_text(encoding="utf-8"))

    def edgepart(self, *words: object, reads: Sequence[Path] = (), output: Path, threads: int | None = None) -> None:
        """Run one command with ``-o output`` and show it, so that it can be repeated by hand.

        Args:
            reads: files and bundles
            threads: given to the command; others are no reason to run it again
        """
        command = [*map(str, words), "-o", str(output)]
        name = output.relative_to(self.folder).as_posix()
        made_of = digest(json.dumps([command, [content(path) for path in reads]]).encode())
        if output.exists() and self._done.get(name) == made_of:
            print(f"kept: {output}", flush=True)
            return
        command += [] if threads is None else ["--threads", str(threads)]
        print("\n$ edgepart", *command, flush=True)
        done = subprocess.run([sys.executable, "-m", "edgepart", *command], check=False)
        if done.returncode:
            sys.exit(done.returncode)
        self._done[name] = made_of
        self._record.write_text(json.dumps(self._done, indent=1) + "\n", encoding="utf-8")


def content(path: Path) -> str:
    """Digest of a file or of a bundle, whose manifest tells the digests of all its files."""
    return digest((path / "manifest.json" if path.is_dir() else path).read_bytes())


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
