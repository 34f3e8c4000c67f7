"""A file from which an interrupted fit goes on with the same bits.

It is a model file with the weights that the run would return, and beside them the run's latest
snapshot (:mod:`fastlin.results.snapshot`) and what the bits depend on: options, rows, labels, and
the versions of the code. A run goes on only if all of that is the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.advice import CheckpointWarning, warn
from fastlin.errors import FastlinError, InputError, shown
from fastlin.results.history import History
from fastlin.results.model_file import SavedModel, load_run, reading, save_model
from fastlin.results.output_file import check_writable
from fastlin.results.snapshot import Snapshot
from fastlin.rows.scaling import InputScale
from fastlin.solvers.state import State


class Checkpoint:
    """Keeps a run's snapshots in a file, and finds the one that an earlier process left there.

    Parameters
    ----------
    path : str or Path
    every : float
        Seconds between two snapshots that are written; the last one always is.

    Attributes
    ----------
    found : tuple or None
        Arrays and numbers of the snapshot in the file, for the run to go on from.
    seed : int or None
        The seed that the run drew, if there is a snapshot.
    scale : InputScale
        That of the run's inputs.
    as_model : callable
        Returns what a model file holds for a state and its history.

    Raises
    ------
    InputError
        ``every`` is negative or not a number.
    ModelFileError
        There is a file, but it is damaged or not a checkpoint.
    OutputError
        The file cannot be written.
    """

    scale: InputScale
    as_model: Callable[[State, History], SavedModel]

    def __init__(self, path: str | Path, every: float = 60.0) -> None:
        self.path = Path(path)
        if isinstance(every, bool) or not isinstance(every, int | float) or not every >= 0:
            raise InputError(f"checkpoint_every={shown(every)} is not a number of seconds >= 0")
        self._every = every
        check_writable(path)
        self.found: tuple[Mapping[str, NDArray[Any]], Mapping[str, Any]] | None = None
        self.seed: int | None = None
        self._before: dict[str, Any] = {}
        if self.path.exists():
            arrays, run = load_run(self.path)
            with reading(self.path):
                self.found = arrays, run["numbers"]
                self._before, self.seed = dict(run["identity"]), int(run["seed"])
        self._latest: Snapshot | None = None
        self._written_at, self._has_failed = time.monotonic(), False

    def begin(self, identity: Mapping[str, str], seed: int) -> None:
        """Record what the run's bits depend on; refuse to go on if that was another in the file.

        ``identity``: texts by their names in the message.

        Raises
        ------
        InputError
            The file is a checkpoint of another run.
        """
        for name, value in identity.items():
            before = str(self._before.get(name))
            if self.found is not None and before != value:
                raise InputError(
                    f"'{self.path}' is a checkpoint of another run: {name} was {before[:60]} and "
                    f"is {value[:60]}; name another file, or delete this one to begin anew"
                )
        self._before, self.seed = dict(identity), seed

    def take(self, snapshot: Snapshot) -> None:
        """Keep the latest snapshot, and write it if that is due."""
        self._latest = snapshot
        if time.monotonic() - self._written_at >= self._every:
            self.write()

    def write(self) -> None:
        """Write the latest snapshot if it has not been written; an error is only a warning."""
        snapshot = self._latest
        if snapshot is None:
            return
        run = {
            name: array if isinstance(array, np.ndarray) else _joined(array)
            for name, array in snapshot.arrays.items()
        }
        weights, intercept = snapshot.model
        raw = self.scale.learned_intercept(weights, intercept)
        state, history = State(weights, raw, self.scale), _history(run, snapshot.numbers)
        model = self.as_model(state, history)
        content = {
            "identity": self._before,
            "seed": self.seed,
            "numbers": dict(snapshot.numbers),
        }
        try:
            save_model(self.path, **vars(model), run=(run, content))
        except (FastlinError, OSError) as error:
            if not self._has_failed:
                warn(
                    f"no checkpoint could be written ({error}); training goes on, and the next one "
                    "is tried later",
                    CheckpointWarning,
                )
            self._has_failed = True
        self._latest, self._written_at = None, time.monotonic()


def _joined(parts: Any) -> NDArray[Any]:
    return np.concatenate(parts) if len(parts) else np.empty(0)


def _history(arrays: Mapping[str, NDArray[Any]], numbers: Mapping[str, Any]) -> History:
    """Return the record of a run so far."""
    losses = np.append(arrays["losses"], arrays["epoch_losses"])
    first = int(arrays["steps"][-1]) + 1 if len(arrays["steps"]) else 0
    steps = np.append(arrays["steps"], first + np.arange(len(losses) - len(arrays["steps"])))
    checks = arrays["checks"]
    total, of_checks = numbers["seconds"]
    return History(
        step=steps.astype(np.int64),
        train_loss=losses,
        check_step=checks[:, 0].astype(np.int64),
        val_loss=checks[:, 1],
        val_accuracy=checks[:, 2],
        train_accuracy=checks[:, 3],
        steps_per_epoch=numbers["steps_per_epoch"],
        steps_per_loss=int(np.diff(steps, prepend=-1).max(initial=1)),
        stopped_epoch=(len(losses) and int(steps[-1])) // numbers["steps_per_epoch"],
        stopped_step=int(steps[-1]) if len(steps) else -1,
        best_step=int(steps[-1]) if len(steps) else -1,
        stop_reason="interrupted",
        seconds={"steps": total - of_checks, "checks": of_checks, "total": total},
    )
