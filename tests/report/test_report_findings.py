"""Findings state what happened: made-up runs with opposite trends get opposite words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastlin.report import findings_logistic, findings_softmax
from fastlin.report.problem import Split
from fastlin.report.spikes import find_spikes
from fastlin.report.tasks import Run
from fastlin.report.wording import compare, count, listing, percent, power_of_ten
from fastlin.results.history import History

N_VAL = 2000
STEPS_PER_EPOCH = 31
INTERVAL = 6


def history(
    val_accuracy: Any, train_accuracy: Any = None, val_loss: Any = None, **changes: Any
) -> History:
    """Make a history whose checks have the given values."""
    val_accuracy = np.asarray(val_accuracy, float)
    n_checks = len(val_accuracy)
    check_step = INTERVAL * np.arange(n_checks)
    n_steps = int(check_step[-1]) + 1
    described: dict[str, Any] = {
        "step": np.arange(n_steps),
        "train_loss": np.linspace(np.log(2), 0.1, n_steps),
        "check_step": check_step,
        "val_loss": np.linspace(0.7, 0.1, n_checks) if val_loss is None else np.array(val_loss),
        "val_accuracy": val_accuracy,
        "train_accuracy": val_accuracy if train_accuracy is None else np.array(train_accuracy),
        "steps_per_epoch": STEPS_PER_EPOCH,
        "stopped_epoch": (n_steps - 1) // STEPS_PER_EPOCH,
        "stopped_step": n_steps - 1,
        "best_step": n_steps - 1,
        "stop_reason": "max_epochs",
    }
    return History(**(described | changes))


def run(recorded: History, **changes: Any) -> Run:
    """Make a run that returned its last weights."""
    described: dict[str, Any] = {
        "history": recorded,
        "penalty": 0.0,
        "weights": np.ones((1, 5)),
        "train_loss": 0.1,
        "val_loss": float(recorded.val_loss[-1]),
        "train_accuracy": float(recorded.train_accuracy[-1]),
        "val_accuracy": float(recorded.val_accuracy[-1]),
    }
    return Run(**(described | changes))


def penalised(*values: tuple[float, float, float], norm: float = 1.0) -> list[Run]:
    """Make softmax runs of (lambda, training accuracy, validation accuracy)."""
    return [
        run(
            history(np.full(20, val)),
            penalty=penalty,
            train_accuracy=train,
            val_accuracy=val,
            val_loss=0.3 + penalty,
            weights=np.full((10, 5), norm / (1 + penalty)),
        )
        for penalty, train, val in values
    ]


def spiky(spike_checks: list[int], depth: float = 0.05, n_checks: int = 170) -> np.ndarray:
    accuracy = np.full(n_checks, 0.97)
    accuracy[spike_checks] -= depth
    return accuracy


PAIR = Split(
    np.zeros((4, 2)),
    np.zeros(4, np.int64),
    np.zeros((N_VAL, 2)),
    np.zeros(N_VAL, np.int64),
    ("3", "2"),
    128,
)


class TestSpikes:
    def test_a_deep_drop_is_a_spike(self) -> None:
        spikes = find_spikes(history(spiky([40, 71])), N_VAL)
        assert spikes.check.tolist() == [40, 71]
        np.testing.assert_allclose(spikes.depth, 0.05)

    def test_the_batch_is_the_position_in_the_epoch(self) -> None:
        spikes = find_spikes(history(spiky([40])), N_VAL)
        assert spikes.batch.tolist() == [40 * INTERVAL % STEPS_PER_EPOCH]

    @pytest.mark.parametrize("standard_errors", [3.5, 4.5])
    def test_four_standard_errors_are_the_border(self, standard_errors: float) -> None:
        depth = standard_errors * np.sqrt(0.97 * 0.03 / N_VAL)
        assert len(find_spikes(history(spiky([40], depth)), N_VAL)) == int(standard_errors > 4)

    def test_the_first_epoch_does_not_count(self) -> None:
        assert len(find_spikes(history(spiky([2, 4])), N_VAL)) == 0

    def test_a_step_up_or_down_is_no_spike(self) -> None:
        accuracy = np.concatenate([np.full(60, 0.9), np.full(60, 0.97), np.full(60, 0.9)])
        assert len(find_spikes(history(accuracy), N_VAL)) == 0

    def test_one_sample_below_a_perfect_run_is_no_spike_and_two_are(self) -> None:
        one, two = (np.where(np.arange(60) == 30, 1 - k / N_VAL, 1.0) for k in (1, 2))
        assert len(find_spikes(history(one), N_VAL)) == 0
        assert len(find_spikes(history(two), N_VAL)) == 1


class TestTask2:
    def test_losses_that_fall_and_losses_that_rise(self) -> None:
        falling = " ".join(findings_logistic.losses(run(history(np.full(60, 0.9)))))
        assert "which is ln 2" in falling
        assert "the training loss falls" in falling
        assert "which is the last check: it was still falling" in falling
        rising = history(np.full(60, 0.9), val_loss=np.linspace(0.1, 0.7, 60))
        rising.train_loss[:] = np.linspace(0.2, 0.9, len(rising.train_loss))
        text = " ".join(findings_logistic.losses(run(rising)))
        assert "ln 2" not in text
        assert "the training loss rises" in text
        assert "lowest right after step 0, at 0.1000; 59 later checks did not get below it" in text

    @pytest.mark.parametrize(("val_loss", "word"), [(0.2, "0.1000 more"), (0.05, "0.0500 less")])
    def test_the_gap_of_losses_has_the_right_sign(self, val_loss: float, word: str) -> None:
        text = findings_logistic.losses(run(history(np.full(60, 0.9)), val_loss=val_loss))[-1]
        assert word in text

    def test_accuracies(self) -> None:
        up = history(np.linspace(0.5, 0.9, 60), train_accuracy=np.linspace(0.5, 0.95, 60))
        text = " ".join(findings_logistic.accuracies(run(up)))
        assert "rises from 50.00 % after the first step to 90.00 %" in text
        assert "5.00 percentage points above it" in text
        assert "No check of the run is more accurate" in text
        down = history(np.linspace(0.9, 0.5, 60), train_accuracy=np.linspace(0.9, 0.4, 60))
        text = " ".join(findings_logistic.accuracies(run(down)))
        assert "falls from 90.00 %" in text
        assert "10.00 percentage points below it" in text
        assert "step 0 reaches 90.00 %" in text

    def test_early_stopping_and_none(self) -> None:
        stopped = history(
            np.full(174, 0.9),
            val_loss=np.r_[np.linspace(0.7, 0.06, 164), np.full(10, 0.07)],
            stop_reason="early_stopping",
            best_step=978,
        )
        text = findings_logistic.stopping(run(stopped), patience=10)[0]
        assert "ends the run in epoch 33, counted from 0, at step 1038" in text
        assert "the 10 checks from step 984 to step 1038" in text
        assert "measured after step 978" in text
        text = findings_logistic.stopping(run(history(np.full(60, 0.9))), patience=10)[0]
        assert "never intervened" in text

    def shuffling(self, ordered: np.ndarray, shuffled: np.ndarray) -> str:
        first, second = run(history(ordered)), run(history(shuffled))
        return " ".join(
            findings_logistic.shuffling(
                first,
                second,
                find_spikes(first.history, N_VAL),
                find_spikes(second.history, N_VAL),
                PAIR,
            )
        )

    def test_periodic_spikes_that_vanish(self) -> None:
        period = 31  # checks: lcm(31, 6) steps
        text = self.shuffling(spiky([34, 34 + period, 34 + 3 * period]), spiky([]))
        assert "shows 3 spikes in 170 checks, and the shuffled run no spike" in text
        assert "periodic: all were measured right after mini-batch 18" in text
        assert "a multiple of 186 steps apart" in text
        assert "With shuffling the spikes disappear" in text
        assert "which is 100 samples of 2000" in text

    def test_spikes_all_over_the_epoch_are_not_called_periodic(self) -> None:
        text = self.shuffling(spiky([33, 50, 70, 90]), spiky([40]))
        assert "periodic" not in text
        assert "follow 4 mini-batches of the epoch" in text
        assert "shrink from 4 to 1" in text

    def test_no_spikes_at_all(self) -> None:
        text = self.shuffling(spiky([]), spiky([]))
        assert "Neither order leaves a spike" in text
        assert "repeats the same mini-batches" not in text

    def test_more_spikes_with_shuffling(self) -> None:
        text = self.shuffling(spiky([50]), spiky([40, 60, 80]))
        assert "does not lower the number of spikes" in text
        assert "disappear" not in text


class TestTask3:
    def overfitting(self, train: Any, val: Any, val_loss: Any) -> str:
        return " ".join(findings_softmax.overfitting(run(history(val, train, val_loss))))

    falling, turning = (
        np.linspace(0.7, 0.3, 50),
        np.r_[np.linspace(0.7, 0.3, 25), np.linspace(0.3, 0.4, 25)],
    )
    flat, growing = np.full(50, 0.9), np.linspace(0.9, 0.99, 50)

    def test_a_growing_gap_and_a_rising_loss_are_overfitting(self) -> None:
        text = self.overfitting(self.growing, self.flat, self.turning)
        assert "widens" in text
        assert "This is overfitting" in text

    def test_a_growing_gap_alone_is_a_first_sign(self) -> None:
        text = self.overfitting(self.growing, self.flat, self.falling)
        assert "a first sign of overfitting and no more" in text
        assert "has not turned up" in text

    def test_a_shrinking_gap_is_none(self) -> None:
        text = self.overfitting(self.flat, self.growing, self.falling)
        assert "narrows" in text
        assert "There is no sign of overfitting" in text

    def test_a_rising_loss_without_a_gap_is_told_apart(self) -> None:
        text = self.overfitting(self.flat, self.flat, self.turning)
        assert "does not change" in text
        assert "gives no sign of overfitting, but the validation loss ends" in text

    @pytest.mark.parametrize(
        ("val_loss", "words"),
        [
            (np.linspace(0.7, 0.3, 50), "still finding new lows"),
            (np.r_[np.linspace(0.7, 0.3, 25), np.full(25, 0.301)], "has levelled out"),
            (np.r_[np.linspace(0.7, 0.3, 25), np.full(25, 0.4)], "has risen again to 0.4000"),
        ],
    )
    def test_the_end_of_the_validation_loss(self, val_loss: Any, words: str) -> None:
        text = " ".join(findings_softmax.losses(run(history(np.full(50, 0.9), None, val_loss)), 10))
        assert words in text


class TestTask4:
    def test_accuracy_that_falls_with_lambda(self) -> None:
        runs = penalised((1.0, 0.8, 0.8), (0.1, 0.88, 0.88), (0.01, 0.9, 0.91))
        text = " ".join(findings_softmax.accuracy_by_penalty(runs[-1], runs))
        assert "It falls with every increase of λ." in text
        text = " ".join(findings_softmax.cause_of_accuracy(runs[-1], runs, 10))
        assert "falls by 11.00 percentage points from λ = 0.01 to λ = 1" in text
        assert "this is underfitting" in text

    def test_accuracy_that_rises_with_lambda(self) -> None:
        runs = penalised((1.0, 0.9, 0.95), (0.1, 0.95, 0.93), (0.01, 0.99, 0.9))
        text = " ".join(findings_softmax.accuracy_by_penalty(runs[-1], runs))
        assert "It rises with every increase of λ." in text
        text = " ".join(findings_softmax.cause_of_accuracy(runs[-1], runs, 10))
        assert "does not fall from λ = 0.01 to λ = 1" in text
        assert "underfitting" not in text

    def test_accuracy_that_peaks_in_between(self) -> None:
        runs = penalised((1.0, 0.8, 0.8), (0.1, 0.9, 0.95), (0.01, 0.99, 0.9))
        text = " ".join(findings_softmax.accuracy_by_penalty(runs[-1], runs))
        assert "λ = 0.1 does best" in text

    def test_accuracy_that_a_penalty_does_not_change(self) -> None:
        runs = penalised((1.0, 0.9, 0.9), (0.1, 0.9, 0.9))
        text = " ".join(findings_softmax.accuracy_by_penalty(runs[-1], runs))
        assert "The penalty does not change it." in text
        assert "best of them is level with" in text
        assert "changes by +0.00" in findings_softmax.cause_of_accuracy(runs[-1], runs, 10)[0]

    def test_validation_alone_that_falls(self) -> None:
        runs = penalised((1.0, 0.95, 0.8), (0.01, 0.95, 0.9))
        text = " ".join(findings_softmax.cause_of_accuracy(runs[-1], runs, 10))
        assert "new samples alone" in text
        assert "underfitting" not in text

    def test_norms(self) -> None:
        runs = penalised((1.0, 0.8, 0.8), (0.1, 0.8, 0.8), (0.01, 0.8, 0.8))
        assert "It falls as λ grows" in findings_softmax.norms(runs)[0]
        swapped = [
            run(r.history, penalty=p.penalty, weights=r.weights)
            for p, r in zip(runs, reversed(runs), strict=True)
        ]
        assert "It rises as λ grows" in findings_softmax.norms(swapped)[0]
        middle = [
            runs[0],
            run(runs[1].history, penalty=0.1, weights=100 * runs[1].weights),
            runs[2],
        ]
        assert "does not fall with every increase" in findings_softmax.norms(middle)[0]

    def test_roughness_of_noise_is_one_and_of_a_slope_is_small(self) -> None:
        noise = np.random.default_rng(0).normal(size=(10, 28 * 28))
        assert abs(findings_softmax.roughness(noise, (28, 28)) - 1.0) < 0.05
        slope = np.add.outer(np.arange(28.0), np.arange(28.0)).reshape(1, -1)
        assert findings_softmax.roughness(slope, (28, 28)) < 0.01

    def test_the_weights_that_are_smoother_are_called_smoother(self) -> None:
        generator = np.random.default_rng(0)
        X, y = generator.integers(0, 17, (60, 64)), np.arange(60) % 3
        split = Split(X, y, X, y, ("a", "b", "c"), 8)
        recorded = history(np.full(20, 0.9))
        noise = run(recorded, weights=generator.normal(size=(3, 65)))
        slopes = np.tile(np.add.outer(np.arange(8.0), np.arange(8.0)).reshape(1, -1), (3, 1))
        smooth = run(recorded, penalty=1.0, weights=np.column_stack([slopes, np.zeros(3)]))
        for plain, held, word in ((noise, smooth, "smoother"), (smooth, noise, "rougher")):
            text = findings_softmax.weight_images(plain, held, split, (8.0, 0.125), (8, 8))
            assert f"are {word} than those" in text[0]
        assert len(findings_softmax.weight_images(noise, smooth, split, (8.0, 0.125), None)) == 1

    def test_the_class_contrast_is_the_gradient_at_zero(self) -> None:
        generator = np.random.default_rng(1)
        X, y = generator.integers(0, 17, (50, 6)), generator.integers(0, 3, 50)
        split = Split(X, y, X, y, ("a", "b", "c"), 8)
        scaled = (X - 8.0) * 0.125
        expected = (np.eye(3)[y] - 1 / 3).T @ scaled / 50
        np.testing.assert_allclose(findings_softmax.class_contrast(split, (8.0, 0.125)), expected)


class TestWording:
    def test_numbers(self) -> None:
        assert percent(0.97126) == "97.13 %"
        assert power_of_ten(1.25e-8) == "1.2 \N{MULTIPLICATION SIGN} 10⁻⁸"
        assert power_of_ten(1e-6) == "10⁻⁶"
        assert count(0, "spike") == "no spike"
        assert count(1, "spike") == "1 spike"
        assert count(2, "batch", "batches") == "2 batches"

    def test_equal_to_the_shown_digits_is_equal(self) -> None:
        assert compare(0.50001, 0.5, "up", "down", "same") == "same"
        assert compare(0.5002, 0.5, "up", "down", "same") == "up"
        assert compare(0.4998, 0.5, "up", "down", "same") == "down"

    def test_listing(self) -> None:
        assert [listing([]), listing(["a"]), listing(["a", "b", "c"])] == ["", "a", "a, b and c"]
