"""Learning curves: what they show, the files they make, the mistakes they name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fastlin.errors import InputError, OutputError
from fastlin.results.history import History
from fastlin.results.plotting import epoch_means, learning_curve


def made_up_history(n_epochs: int = 4, with_checks: bool = True) -> History:
    steps = np.arange(10 * n_epochs)
    checks = steps[::5] if with_checks else steps[:0]
    return History(
        step=steps,
        train_loss=np.exp(-steps / 10.0),
        check_step=checks,
        val_loss=np.exp(-checks / 12.0),
        val_accuracy=1.0 - 0.5 * np.exp(-checks / 12.0),
        train_accuracy=1.0 - 0.4 * np.exp(-checks / 12.0),
        steps_per_epoch=10,
        stopped_epoch=n_epochs - 1,
        stopped_step=10 * n_epochs - 1,
        best_step=10 * n_epochs - 1,
        stop_reason="max_epochs",
    )


def test_a_run_with_checks_has_a_panel_of_losses_and_one_of_accuracies() -> None:
    history = made_up_history()
    losses, accuracies = learning_curve(history).axes
    assert losses.get_ylabel() == "cross-entropy (nats)"
    assert accuracies.get_ylabel() == "accuracy"
    drawn = {line.get_label(): line.get_ydata() for line in (*losses.lines, *accuracies.lines)}
    np.testing.assert_array_equal(drawn["training batch"], history.train_loss)
    np.testing.assert_array_equal(drawn["training"], history.train_accuracy)


def test_a_run_without_checks_has_only_losses() -> None:
    figure = learning_curve(made_up_history(with_checks=False))
    assert len(figure.axes) == 1
    assert "validation" not in [line.get_label() for line in figure.axes[0].lines]


def test_a_run_checked_without_a_validation_set_still_shows_its_training_accuracy() -> None:
    history = made_up_history()
    history.val_loss[:] = history.val_accuracy[:] = np.nan
    _, accuracies = learning_curve(history).axes
    assert [line.get_label() for line in accuracies.lines] == ["training"]


def test_a_legend_covers_no_curve_and_is_not_cut_off() -> None:
    figure = learning_curve(made_up_history())
    figure.canvas.draw()
    for axes in figure.axes:
        legend = axes.get_legend()
        assert legend is not None
        assert legend.get_window_extent().y0 >= axes.get_window_extent().y1 - 1
        assert legend.get_window_extent().x1 <= figure.bbox.x1


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_same_history_gives_the_same_file(tmp_path: Path, suffix: str) -> None:
    for name in ("one", "two"):
        made_up_history().plot(tmp_path / f"{name}{suffix}")
    first, second = ((tmp_path / f"{name}{suffix}").read_bytes() for name in ("one", "two"))
    assert len(first) > 5000
    assert first == second


def test_epoch_means_count_the_unfinished_last_epoch() -> None:
    history = History(
        step=np.arange(5), train_loss=np.array([1.0, 3.0, 5.0, 7.0, 4.0]), steps_per_epoch=2
    )
    middle_step, mean_loss = epoch_means(history)
    np.testing.assert_array_equal(middle_step, [0.5, 2.5, 4.0])
    np.testing.assert_array_equal(mean_loss, [2.0, 6.0, 4.0])


def test_an_empty_history_is_named() -> None:
    with pytest.raises(InputError, match="holds no step"):
        History().plot()


def test_an_unknown_suffix_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.png, \.svg or \.pdf"):
        made_up_history().plot(tmp_path / "curve.bmp")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="create it first"):
        made_up_history().plot(tmp_path / "nowhere" / "curve.png")
