"""``fastlin train --scheduler``: trains on the machines of a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlin.cli.selection import Source
from fastlin.cli.streams import say
from fastlin.errors import ClusterError, InputError
from fastlin.results.scores import Scores

if TYPE_CHECKING:
    from fastlin.dask import LogisticRegression

SECONDS_TO_CONNECT = 30


def train(
    source: Source, address: str, training: dict[str, Any], validation_fraction: float
) -> tuple[LogisticRegression, str, dict[str, Scores]]:
    """Train on Parquet files that all workers can read.

    Returns the model, a name for the data, and the scores of training and validation rows. The
    latter are every so many partitions, a ``validation_fraction`` of all.

    Raises
    ------
    InputError
        An option does not suit a cluster, or Dask is not installed.
    ClusterError
        No scheduler answers at the address.
    """
    label = _require_parquet(source)
    try:
        import dask.dataframe as dd
        from distributed import Client

        from fastlin.dask import LogisticRegression
        from fastlin.dask.reading import require_lbfgs
    except ImportError as error:
        raise InputError(
            f"--scheduler needs Dask ({error}); install it with: pip install 'fastlin[dask]'"
        ) from error
    require_lbfgs(training["solver"])
    try:
        client = Client(address, timeout=SECONDS_TO_CONNECT)
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"no scheduler answers at {address} ({error}); start one with: dask scheduler, and "
            "pass the address that it prints"
        ) from error
    with client:
        frame = _read(dd.read_parquet, source, label)
        held_back, rest = _divided(frame, validation_fraction)
        if training["input_scale"] == "auto":
            training["input_scale"] = _input_scale(rest.drop(columns=[label]))
        model = LogisticRegression(client=client, **training)
        if held_back is None:
            model.fit(rest, label)
        else:
            X_val = held_back.drop(columns=[label])
            model.fit(rest, label, X_val=X_val, y_val=held_back[label])
        scores = _scores(model, rest, held_back, label)
        return model.to_local(), Path(source.data).stem.strip("*_-.") or "rows", scores


def _require_parquet(source: Source) -> str:
    """Return the column of the labels, or raise if an option does not suit a cluster."""
    if not source.data.lower().endswith(".parquet"):
        raise InputError(
            f"--scheduler trains on Parquet files, and --data is {source.data}; name files that "
            "all workers can read, such as 'data/*.parquet'"
        )
    for option in ("classes", "labels", "separator"):
        if getattr(source, option) is not None:
            raise InputError(f"--{option} is for data that are read here; leave it out")
    if source.label is None:
        raise InputError("--scheduler needs --label COLUMN, the column that holds the labels")
    return source.label


def _read(read_parquet: Callable[[str], Any], source: Source, label: str) -> Any:
    try:
        frame = read_parquet(source.data)
    except (OSError, ValueError, IndexError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{source.data} cannot be read as Parquet ({reason})") from error
    for name in (label, *source.drop):
        if name not in frame.columns:
            raise InputError(f"{source.data} has no column {name!r}; name one that it has")
    return frame.drop(columns=list(source.drop)) if source.drop else frame


def _divided(frame: Any, fraction: float) -> tuple[Any, Any]:
    """Return held back partitions, evenly spaced, or None, and the others."""
    n = frame.npartitions
    n_held_back = round(fraction * n)
    if not 0 < n_held_back < n:
        if fraction:
            say(f"no rows are held back: there are {n} partitions, and whole ones are")
        return None, frame
    chosen = np.zeros(n, bool)
    chosen[np.linspace(0, n - 1, n_held_back + 2)[1:-1].round().astype(int)] = True
    say(f"{int(chosen.sum())} of {n} partitions are held back for validation")
    parts = [
        [frame.get_partition(int(place)) for place in np.flatnonzero(lot)]
        for lot in (chosen, ~chosen)
    ]
    held_back, rest = (_joined(part) for part in parts)
    return held_back, rest


def _joined(parts: list[Any]) -> Any:
    import dask.dataframe as dd

    return parts[0] if len(parts) == 1 else dd.concat(parts)


def _input_scale(rows: Any) -> Any:
    """Return what ``--input-scale auto`` means: the range of images, and None for others."""
    if any(dtype.kind != "u" for dtype in rows.dtypes):
        return None
    return 0.0, 1.0 / max(1, int(rows.max().compute().max()))


def _scores(model: Any, rest: Any, held_back: Any, label: str) -> dict[str, Scores]:
    """Return the scores of the model that is returned, by the checks of the fit."""
    history = model.history_
    n_rows = int(rest[label].map_partitions(len).compute().sum())
    best = history.best_step
    loss = float(history.train_loss[best]) if len(history.train_loss) else float("nan")
    if held_back is None:
        return {"training": Scores(n_rows, loss, model.score(rest, label))}
    check = list(history.check_step).index(best)
    n_held_back = int(held_back[label].map_partitions(len).compute().sum())
    return {
        "training": Scores(n_rows, loss, float(history.train_accuracy[check])),
        "validation": Scores(
            n_held_back, float(history.val_loss[check]), float(history.val_accuracy[check])
        ),
    }
