"""A fit replaces the whole model or none of it, whatever interrupts it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from sklearn.base import BaseEstimator

Estimator = TypeVar("Estimator", bound=BaseEstimator)


@contextmanager
def learner_of(estimator: Estimator) -> Iterator[Estimator]:
    """Yield a copy of an estimator to train; the estimator takes over what the copy has learned.

    The copy shares everything with the estimator, so the block may set attributes but must not
    write into existing arrays. If the block succeeds, the attributes that it set or removed are
    taken over in one assignment, which no signal can interrupt. If it raises, Ctrl-C included, the
    estimator is as it was before, and so is its random generator.
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
    # Start from the present attributes: a callback may have set some meanwhile.
    kept = {
        name: value
        for name, value in vars(estimator).items()
        if name in after or name not in before
    }
    estimator.__dict__ = kept | learned
