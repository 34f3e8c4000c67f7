"""A fit replaces the whole model or leaves it as it was, whatever goes wrong on the way."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from estimators import WORDS, X, Y, model, of_classes
from sklearn.exceptions import NotFittedError

import fastlin
from fastlin import LogisticRegression
from fastlin.advice import NotConvergedWarning
from fastlin.errors import DivergenceError, InputError
from fastlin.kernels import BACKEND_NAMES
from fastlin.replacement import learner_of
from fastlin.solvers.progress import Progress, asks_to_stop

FRAME = pd.DataFrame(X, columns=list("abcd"))


class Interrupt:
    """A callback that raises when it is called for the n-th time."""

    def __init__(self, error: BaseException, calls: int = 1) -> None:
        self.error, self.calls = error, calls

    def __call__(self, progress: Progress) -> None:
        self.calls -= 1
        if self.calls == 0:
            raise self.error


def learned(estimator: LogisticRegression) -> dict[str, tuple[int, bytes]]:
    """What was learned: the object and the content of each attribute."""
    options = estimator.get_params()
    return {
        name: (id(value), pickle.dumps(value))
        for name, value in vars(estimator).items()
        if name not in options
    }


def fails(call: Callable[[], Any], error: type[BaseException]) -> None:
    with pytest.raises(error):
        call()


Failing = Callable[[LogisticRegression], None]

FAILING_FITS: dict[str, Failing] = {
    "Ctrl-C": lambda m: fails(
        lambda: m.set_params(callbacks=[Interrupt(KeyboardInterrupt())]).fit(X, WORDS[Y]),
        KeyboardInterrupt,
    ),
    "Ctrl-C later, other features": lambda m: fails(
        lambda: m.set_params(callbacks=[Interrupt(KeyboardInterrupt(), 3)]).fit(X[:, :2], Y > 0),
        KeyboardInterrupt,
    ),
    "SystemExit in a warm start": lambda m: fails(
        lambda: m.set_params(callbacks=[Interrupt(SystemExit())], warm_start=True, l2=1).fit(X, Y),
        SystemExit,
    ),
    "exception in a callback": lambda m: fails(
        lambda: m.set_params(callbacks=[Interrupt(ZeroDivisionError(), 2)]).fit(X, Y + 7),
        ZeroDivisionError,
    ),
    "exception while checking": lambda m: fails(
        lambda: m.set_params(callbacks=[Interrupt(OSError())]).fit(X, Y, X_val=X[:9], y_val=Y[:9]),
        OSError,
    ),
    "one class": lambda m: fails(lambda: m.fit(X[:, :3], np.zeros(len(X))), InputError),
    "names gone": lambda m: fails(lambda: m.fit(X, np.zeros(len(X))), InputError),
    "other names": lambda m: fails(
        lambda: m.fit(FRAME.rename(columns={"a": "z"}), np.zeros(len(X))), InputError
    ),
    "refused scale": lambda m: fails(
        lambda: m.set_params(input_scale=(0, -1)).fit(X, WORDS[Y]), InputError
    ),
    "refused labels of the validation set": lambda m: fails(
        lambda: m.fit(X, Y, X_val=X[:2], y_val=[0, 99]), InputError
    ),
    "refused option": lambda m: fails(lambda: m.set_params(l2=-1).fit(X, WORDS[Y]), InputError),
    "warm start of other classes": lambda m: fails(
        lambda: m.set_params(warm_start=True).fit(X, WORDS[Y]), InputError
    ),
}

FAILING_PARTS: dict[str, Failing] = {
    "Ctrl-C in a part": lambda m: fails(
        lambda: m.set_params(callbacks=[Interrupt(KeyboardInterrupt())]).partial_fit(FRAME, Y),
        KeyboardInterrupt,
    ),
    "a part of other features": lambda m: fails(lambda: m.partial_fit(X[:, :2], Y), InputError),
    "a part of unknown labels": lambda m: fails(lambda: m.partial_fit(X, Y + 7), InputError),
    "a part of other classes": lambda m: fails(
        lambda: m.partial_fit(X, Y, classes=[0, 1]), InputError
    ),
    "a part that diverges": lambda m: fails(
        lambda: m.set_params(learning_rate=1e300).partial_fit(1e100 * X, Y), DivergenceError
    ),
}

FITTED = {
    "fit": lambda m: m.fit(FRAME, Y),
    "partial_fit": lambda m: m.partial_fit(FRAME, Y, classes=range(3)).partial_fit(FRAME, Y),
}


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("name", [*FAILING_FITS, *FAILING_PARTS])
def test_the_model_is_as_it_was(name: str, backend: str) -> None:
    for how, train in FITTED.items():
        options = {"momentum": 0.9, "average": True, "input_scale": "standard"}
        estimator = train(model(backend=backend, **options))
        before, answers = learned(estimator), estimator.predict_proba(FRAME)
        {**FAILING_FITS, **FAILING_PARTS}[name](estimator)
        assert learned(estimator) == before, how
        np.testing.assert_array_equal(estimator.predict_proba(FRAME), answers)
        # And training goes on from there as if nothing had been.
        untouched = train(model(backend=backend, **options)).partial_fit(FRAME, Y)
        estimator.set_params(**untouched.get_params()).partial_fit(FRAME, Y)
        np.testing.assert_array_equal(estimator.coef_, untouched.coef_)


@pytest.mark.parametrize("name", FAILING_FITS)
def test_the_optimum_is_as_it_was(name: str) -> None:
    estimator = model(solver="lbfgs", max_epochs=100).fit(FRAME, Y)
    before = learned(estimator)
    FAILING_FITS[name](estimator)
    assert learned(estimator) == before


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
@pytest.mark.parametrize("name", sorted(set(FAILING_FITS) - {"warm start of other classes"}))
def test_a_first_fit_that_fails_leaves_nothing(name: str, solver: str) -> None:
    estimator = model(solver=solver, max_epochs=100)
    FAILING_FITS[name](estimator)
    assert learned(estimator) == {}
    with pytest.raises(NotFittedError):
        estimator.predict(X)


def test_a_first_part_that_fails_leaves_nothing() -> None:
    estimator = model(input_scale=(0, -1))
    fails(lambda: estimator.partial_fit(X, Y, classes=range(3)), InputError)
    assert learned(estimator) == {}
    estimator.set_params(input_scale=None).partial_fit(X[:, :3], WORDS[Y], classes=WORDS)
    assert estimator.coef_.shape == (3, 3)


def test_a_warning_made_an_error_leaves_the_model() -> None:
    estimator = model().fit(X, Y)
    before = learned(estimator)
    estimator.set_params(solver="lbfgs", max_epochs=2, tol=1e-9)
    fails(lambda: estimator.fit(X, WORDS[Y]), NotConvergedWarning)  # all are errors in these tests
    assert learned(estimator) == before


def test_weights_that_the_last_step_makes_infinite_are_no_model() -> None:
    """No later loss tells of them."""
    estimator = model().fit(X, Y)
    before = learned(estimator)
    options = {"learning_rate": 1e308, "max_epochs": 1, "batch_size": len(X), "tol": None}
    fails(lambda: estimator.set_params(**options).fit(1e30 * X, Y), DivergenceError)
    assert learned(estimator) == before


def test_a_generator_of_ones_own_is_as_it_was() -> None:
    generator = np.random.RandomState(3)
    estimator = model(random_state=generator, callbacks=[Interrupt(KeyboardInterrupt())])
    fails(lambda: estimator.fit(X, Y), KeyboardInterrupt)
    assert generator.randint(2**31) == np.random.RandomState(3).randint(2**31)


def test_callbacks_see_the_model_before_and_may_set_attributes() -> None:
    estimator = model().fit(X, Y)
    before = estimator.coef_
    seen: list[Any] = []

    def look(progress: Progress) -> None:
        seen.append((estimator.coef_, estimator.classes_.tolist()))
        estimator.noted_ = progress.epoch

    estimator.set_params(callbacks=[look]).fit(X, WORDS[Y])
    assert len(seen) == estimator.n_iter_
    assert all(coef is before and classes == [0, 1, 2] for coef, classes in seen)
    assert estimator.noted_ == estimator.n_iter_ - 1
    assert estimator.coef_ is not before
    assert estimator.classes_.tolist() == WORDS.tolist()


def test_a_fit_forgets_what_only_the_last_one_had() -> None:
    estimator = model().fit(FRAME, Y)
    assert estimator.feature_names_in_.tolist() == list("abcd")
    estimator.fit(X, Y)
    assert not hasattr(estimator, "feature_names_in_")


def test_a_path_that_fails_raises() -> None:
    with pytest.raises(KeyboardInterrupt):
        fastlin.path(X, Y, [1.0, 0.1], callbacks=[Interrupt(KeyboardInterrupt())], backend="numpy")


def test_a_learner_is_taken_over_whole_or_not_at_all() -> None:
    estimator = model()
    estimator.old_ = estimator.both_ = 1

    def learn(fault: Exception | None) -> None:
        with learner_of(estimator) as learner:
            learner.new_ = learner.both_ = 2
            del learner.old_
            if fault:
                raise fault

    fails(lambda: learn(ZeroDivisionError()), ZeroDivisionError)
    assert (estimator.old_, estimator.both_, hasattr(estimator, "new_")) == (1, 1, False)
    learn(None)
    assert (estimator.new_, estimator.both_, hasattr(estimator, "old_")) == (2, 2, False)


# ------------------------------------------------------------------ what stops the training

STOPS = [True, np.True_, np.bool_(True), np.array([1.0]).all(), np.array(True)]
GOES_ON = [False, None, np.False_, np.array(False), 1, 1.0, np.int64(1), "stop", [True], X]


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
@pytest.mark.parametrize("answer", STOPS, ids=repr)
def test_what_stops_the_training(answer: Any, solver: str) -> None:
    trained = model(solver=solver, callbacks=[lambda _: answer]).fit(X, Y)
    assert (trained.history_.stop_reason, trained.n_iter_) == ("callback", 1)


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_what_does_not(solver: str) -> None:
    rows, labels = of_classes(2)
    callbacks = [lambda _, answer=answer: answer for answer in GOES_ON]
    trained = model(solver=solver, callbacks=callbacks, max_epochs=40).fit(rows, labels)
    assert trained.history_.stop_reason != "callback"
    assert trained.n_iter_ > 2
    assert not any(map(asks_to_stop, GOES_ON))
