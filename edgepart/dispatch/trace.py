"""The Trace: everything that deciding needs to know about N samples at K exits; no framework involved."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgepart.errors import FileError, TrainingError
from edgepart.files import write_arrays

KIND = "edgepart.trace"
VERSION = 1

Floats = NDArray[np.float32] | NDArray[np.float64]


def log_softmax(logits: Floats) -> Floats:
    """(…, C) → (…, C); stays finite for any finite logits (entropy from raw logits does not)."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def not_finite(exit_name: str, sample: int) -> TrainingError:
    """What is raised where an exit gives no number."""
    return TrainingError(
        f"exit '{exit_name}' gives a NaN or infinite logit for sample {sample}: "
        "train again with a lower learning rate, and check the inputs for NaN"
    )


@dataclass(frozen=True)
class Trace:
    """What every exit says of every sample.

    Attributes:
        logits: (N, K, C) float32, exits in the order in which a sample meets them, the network's own last
        labels: (N,) int64 in 0 … C-1
        embeddings: (N, D) float32, what a router sees of a sample before any part runs
        exits, exit_tiers: K names; the tier of each
        tiers: T names, from the source of the data to the cloud
        classes: C names
        dynamics: (E, N, K) float32 or None: probability of the true label after each training epoch
    """

    logits: Floats
    labels: NDArray[np.int64]
    embeddings: Floats
    exits: tuple[str, ...]
    exit_tiers: tuple[str, ...]
    tiers: tuple[str, ...]
    classes: tuple[str, ...]
    dynamics: Floats | None = None

    def __post_init__(self) -> None:
        samples, exits, classes = self.logits.shape
        expected: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
            "labels": (self.labels.shape, (samples,)),
            "exits": ((len(self.exits),), (exits,)),
            "exit_tiers": ((len(self.exit_tiers),), (exits,)),
            "classes": ((len(self.classes),), (classes,)),
            "embeddings": (self.embeddings.shape[:1], (samples,)),
        }
        if self.dynamics is not None:
            expected["dynamics"] = (self.dynamics.shape[1:], (samples, exits))
        for name, (given, wanted) in expected.items():
            if given != wanted:
                raise ValueError(f"{name} has shape {given}, expected {wanted} for logits {self.logits.shape}")
        unknown = set(self.exit_tiers) - set(self.tiers)
        if unknown:
            raise ValueError(f"an exit is on {min(unknown)}, expected one of the tiers {', '.join(self.tiers)}")
        if samples and not (self.labels.dtype.kind in "iu" and 0 <= self.labels.min() <= self.labels.max() < classes):
            raise ValueError(f"a label is no class, expected whole numbers from 0 to {classes - 1}")
        if not np.isfinite(self.logits).all():
            sample, exit_number, _ = (int(index) for index in np.argwhere(~np.isfinite(self.logits))[0])
            raise not_finite(self.exits[exit_number], sample)

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def log_probabilities(self) -> Floats:
        """(N, K, C) log-softmax."""
        return log_softmax(self.logits)

    @cached_property
    def probabilities(self) -> Floats:
        """(N, K, C) softmax."""
        result: Floats = np.exp(self.log_probabilities)
        return result

    @cached_property
    def confidence(self) -> Floats:
        """(N, K) largest probability."""
        result: Floats = np.exp(self.log_probabilities.max(axis=-1))
        return result

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """(N, K) whether the exit answers with the label."""
        result: NDArray[np.bool_] = self.logits.argmax(axis=-1) == self.labels[:, None]
        return result

    @cached_property
    def exit_tier_index(self) -> NDArray[np.int64]:
        """(K,) position in ``tiers`` of every exit's tier."""
        return np.array([self.tiers.index(name) for name in self.exit_tiers], dtype=np.int64)

    def select(self, samples: NDArray[np.int64] | NDArray[np.bool_]) -> Trace:
        """The trace of some of the samples, in the given order."""
        dynamics = None if self.dynamics is None else self.dynamics[:, samples]
        return replace(
            self,
            logits=self.logits[samples],
            labels=self.labels[samples],
            embeddings=self.embeddings[samples],
            dynamics=dynamics,
        )

    def scaled(self, temperatures: NDArray[np.float64]) -> Trace:
        """The trace with every exit's logits divided by its temperature; the exits answer as before.

        Args:
            temperatures: (K,) above 0

        Raises:
            ValueError: another number of temperatures, or one that is not above 0 and finite.
        """
        if temperatures.shape != (len(self.exits),) or not ((temperatures > 0) & np.isfinite(temperatures)).all():
            raise ValueError(f"the temperatures are {temperatures}, expected {len(self.exits)} finite ones above 0")
        # In float64, where logits that differ in float32 still do after the division, so that no answer turns.
        return replace(self, logits=self.logits.astype(np.float64) / temperatures[:, None])

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, atomically.

        Raises:
            FileError: the folder is missing or the disk is full.
        """
        arrays = {"logits": self.logits, "labels": self.labels, "embeddings": self.embeddings}
        if self.dynamics is not None:
            arrays["dynamics"] = self.dynamics
        header = {
            "kind": KIND,
            "version": str(VERSION),
            **{name: json.dumps(getattr(self, name)) for name in ("exits", "exit_tiers", "tiers", "classes")},
        }
        write_arrays(path, arrays, header)

    @classmethod
    def load(cls, path: str | Path) -> Trace:
        """Read a trace back.

        Raises:
            FileError: missing, truncated or not a trace.
        """
        from safetensors import SafetensorError, safe_open

        if Path(path).is_dir():
            raise FileError(f"{path} is a folder, expected a trace: give the trace.safetensors that lies in a report")
        try:
            with safe_open(path, framework="numpy") as stored:
                header = stored.metadata() or {}
                arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a dict)
            if header.get("kind") != KIND or header.get("version") != str(VERSION):
                raise FileError(f"{path} is not an edgepart trace of version {VERSION}")
            return cls(
                logits=arrays["logits"],
                labels=arrays["labels"],
                embeddings=arrays["embeddings"],
                dynamics=arrays.get("dynamics"),
                exits=tuple(json.loads(header["exits"])),
                exit_tiers=tuple(json.loads(header["exit_tiers"])),
                tiers=tuple(json.loads(header["tiers"])),
                classes=tuple(json.loads(header["classes"])),
            )
        except FileNotFoundError:
            raise FileError(f"{path} does not exist") from None
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise FileError(f"{path} is not a readable trace ({error}); was it cut short?") from error
