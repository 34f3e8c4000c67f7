"""The report's training runs: the 33 epochs on every backend, and the cutting of the data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastlin.datasets import Dataset
from fastlin.errors import InputError
from fastlin.kernels import backends
from fastlin.report.problem import Problem, Settings, make_problem
from fastlin.report.progress import display
from fastlin.report.spikes import find_spikes
from fastlin.report.tasks import Run, Training, scaled_weights, train_logistic, train_softmax

AVAILABLE = [name for name, backend in backends().items() if backend.available]


def logistic(problem: Problem, backend: str, shuffle: bool) -> Run:
    with display(visible=False) as bars:
        training = Training(backend, seed=0, n_threads=None)
        return train_logistic(problem, Settings(), training, bars, shuffle=shuffle)


@pytest.fixture(scope="module")
def mnist_problem(mnist: Dataset) -> Problem:
    return make_problem(mnist, Settings())


def test_mnist_is_cut_as_in_the_course(mnist_problem: Problem) -> None:
    pair, everything = mnist_problem.pair, mnist_problem.everything
    assert (len(everything.X_train), len(everything.X_val)) == (20_000, 10_000)
    assert (len(pair.X_train), len(pair.X_val)) == (4005, 2042)
    assert (pair.steps_per_epoch, everything.steps_per_epoch) == (31, 156)
    assert mnist_problem.input_scale == (127.5, 1 / 127.5)
    assert (mnist_problem.positive_name, mnist_problem.negative_name) == ("2", "3")


@pytest.mark.parametrize("backend", AVAILABLE)
def test_early_stopping_ends_in_epoch_33(mnist_problem: Problem, backend: str) -> None:
    run = logistic(mnist_problem, backend, shuffle=False)
    assert run.history.stopped_epoch == 33
    assert run.history.stopped_step == 1038
    assert run.history.stop_reason == "early_stopping"
    assert run.val_loss == pytest.approx(run.history.val_loss.min(), rel=1e-9)
    assert len(find_spikes(run.history, len(mnist_problem.pair.X_val))) >= 4


@pytest.mark.parametrize("backend", AVAILABLE)
def test_shuffling_removes_the_spikes(mnist_problem: Problem, backend: str) -> None:
    run = logistic(mnist_problem, backend, shuffle=True)
    assert len(find_spikes(run.history, len(mnist_problem.pair.X_val))) <= 1


@pytest.mark.parametrize("backend", AVAILABLE)
def test_a_penalty_shrinks_the_weights(mnist: Dataset, backend: str) -> None:
    settings = Settings(train_rows=2000, softmax_epochs=3)
    problem = make_problem(mnist, settings)
    with display(visible=False) as bars:
        training = Training(backend, seed=0, n_threads=None)
        norms = [
            train_softmax(problem, settings, training, bars, penalty).weight_norm
            for penalty in (1.0, 0.1, 0.0)
        ]
    assert norms == sorted(norms)


def test_scaled_weights_give_the_logits_of_the_raw_ones() -> None:
    generator = np.random.default_rng(0)
    U = generator.integers(0, 256, (20, 7)).astype(float)
    coefficients, intercept = generator.normal(size=(3, 7)), generator.normal(size=3)
    weights = scaled_weights(coefficients, intercept, (127.5, 1 / 127.5))
    X = np.column_stack([(U - 127.5) / 127.5, np.ones(20)])
    np.testing.assert_allclose(X @ weights.T, U @ coefficients.T + intercept, rtol=1e-12)


def dataset(labels: Any, val_labels: Any = None, values: Any = None) -> Dataset:
    labels = np.asarray(labels)
    val_labels = labels if val_labels is None else np.asarray(val_labels)
    X = np.arange(2.0 * len(labels)).reshape(-1, 2) if values is None else values
    X_val = np.arange(2.0 * len(val_labels)).reshape(-1, 2)
    return Dataset("made up", X, labels, X_val, val_labels, None, "a test")


class TestProblem:
    def test_labels_that_are_strings(self) -> None:
        problem = make_problem(dataset(["dog", "cat", "ant"] * 20), Settings())
        assert problem.everything.class_names == ("ant", "cat", "dog")
        assert problem.positive_name == "ant"
        assert problem.negative_name == "cat"
        assert problem.pair.y_train.tolist() == [0, 1] * 20

    def test_target_1_is_a_2(self) -> None:
        problem = make_problem(dataset([1, 2, 3] * 20), Settings())
        assert problem.pair.class_names == ("3", "2")
        assert problem.pair.y_train.tolist() == [1, 0] * 20

    def test_values_are_mapped_to_minus_1_and_1(self) -> None:
        problem = make_problem(dataset([1, 2, 3] * 20), Settings())
        shift, scale = problem.input_scale
        X = (problem.everything.X_train - shift) * scale
        assert (X.min(), X.max()) == (-1.0, 1.0)

    @pytest.mark.parametrize(
        ("n_rows", "batch_size"), [(5, 1), (9, 1), (10, 2), (639, 64), (640, 128), (5000, 128)]
    )
    def test_few_rows_get_smaller_batches(self, n_rows: int, batch_size: int) -> None:
        labels = np.concatenate([np.tile([2, 3], n_rows)[:n_rows], [7] * 5])
        assert make_problem(dataset(labels), Settings()).pair.batch_size == batch_size

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (dataset([0, 1] * 20), "has 2 class"),
            (dataset([0, 1, 2] * 20, np.array([], int)), "no validation rows"),
            (dataset([0, 1, 2] * 20, [0, 1, 9]), "validation label 9"),
            (dataset([0, 1, 2] * 20, [2, 2]), "no validation rows of the classes 0 and 1"),
            (dataset([0, 1, 2] * 20, values=np.ones((60, 2))), "every value .* is 1"),
            (dataset([2, 3, 4, 2, 4, 4]), "has 3 training rows of 3 and 2; expected at least 5"),
        ],
    )
    def test_data_that_cannot_be_used_are_named(self, data: Dataset, message: str) -> None:
        with pytest.raises(InputError, match=message):
            make_problem(data, Settings())
