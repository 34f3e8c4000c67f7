"""A fit replaces the whole model or nothing of it, whatever interrupts it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from sklearn.base import BaseEstimator

Estimator = TypeVar("Estimator", bound=BaseEstimator)


@contextmanager
def learner_of(estimator: Estimator) -> Iterator[Estimator]:
    """Lend a copy of an estimator to learn with; what it has learned is then the estimator's.

    The copy shares everything with the estimator, so whoever learns sets attributes and writes into
    no array that was there before. Where the block ends without an exception, what was set or
    removed in it is taken over in one assignment, which no signal can cut in two. Where it raises,
    Ctrl-C included, the estimator is as it was before, and so is a generator that it was given.
    """
    learner = object.__new__(type(estimator))
    before = dict(vars(estimator))
    vars(learner).update(before)
    generator: Any = before.get("random_state")
    is_generator = isinstance(generator, np.random.RandomState)
    drawn = generator.get_state() if is_generator else None
    try:
        yield learner
    except BaseException:
        if is_generator:
            generator.set_state(drawn)
        raise
    after = vars(learner)
    learned = {name: value for name, value in after.items() if before.get(name, after) is not value}
    # From what is there now: a callback may have set something meanwhile.
    kept = {
        name: value
        for name, value in vars(estimator).items()
        if name in after or name not in before
    }
    estimator.__dict__ = kept | learned
