"""What notebooks show of a model, of a history, and while a model trains."""

from __future__ import annotations

import base64
import io
import re
import sys
import types
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread
from sklearn import config_context
from sklearn.datasets import load_digits

from fastlin import History, LogisticRegression
from fastlin.advice import NotConvergedWarning

X, Y = load_digits(return_X_y=True)


def train(**options: Any) -> LogisticRegression:
    model = LogisticRegression(backend="numpy", random_state=0, max_epochs=3, **options)
    if options.get("solver") == "lbfgs":
        with pytest.warns(NotConvergedWarning):
            return model.fit(X, Y, X_val=X[:100], y_val=Y[:100])
    return model.fit(X, Y, X_val=X[:100], y_val=Y[:100])


def cells(html: str) -> dict[str, str]:
    return dict(re.findall(r"<th scope='row'[^>]*>([^<]+)</th><td[^>]*>([^<]+)</td>", html))


class Balance(HTMLParser):
    """Whether every tag that opens is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, _: Any) -> None:
        if tag not in ("img", "input", "br", "link", "meta", "path", "progress"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_a_history_is_a_table_and_a_plot(solver: str) -> None:
    history = train(solver=solver).history_
    html = history._repr_html_()
    shown = cells(html)
    assert shown["iterations" if solver == "lbfgs" else "epochs"] == "3"
    assert shown["stopped"] == "after as many as max_epochs allows"
    assert shown["training loss"] == f"{history.train_loss[-1]:.4f}"
    assert float(shown["validation accuracy"].rstrip(" %")) > 50
    assert ("objective" in shown) == (solver == "lbfgs")
    picture = re.search(r"base64,([^']+)'", html)
    assert picture is not None
    assert imread(io.BytesIO(base64.b64decode(picture[1]))).shape[1] > 300
    assert "alt='Learning curve'" in html
    parser = Balance()
    parser.feed(html)
    assert parser.open == []


def test_a_history_of_nothing() -> None:
    assert "not begun" in History()._repr_html_()


def test_a_model_shows_its_options_and_then_its_results() -> None:
    fresh = LogisticRegression(l2=0.125)._repr_mimebundle_()
    assert "0.125" in fresh["text/plain"]
    assert "Learning curve" not in fresh["text/html"]
    model = train()
    for html in (model._repr_mimebundle_()["text/html"], model._repr_html_()):
        assert "Learning curve" in html
        assert cells(html)["epochs"] == "3"
        assert "LogisticRegression" in html


def test_scikit_learns_text_display_is_kept() -> None:
    model = train()
    with config_context(display="text"):
        assert "text/html" not in model._repr_mimebundle_()


class Display:
    """Takes the place of a notebook's display."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def __call__(self, html: str, display_id: bool) -> Display:
        assert display_id
        self.shown.append(html)
        return self

    def update(self, html: str) -> None:
        self.shown.append(html)


def pretend_notebook(monkeypatch: pytest.MonkeyPatch, kernel: bool) -> Display:
    display = Display()
    shell = types.SimpleNamespace(kernel=object() if kernel else None)
    ipython: Any = types.ModuleType("IPython")
    ipython.get_ipython = lambda: shell
    ipython.display = types.ModuleType("IPython.display")
    ipython.display.HTML, ipython.display.display = str, display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    return display


def test_a_bar_in_a_notebook(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    display = pretend_notebook(monkeypatch, kernel=True)
    train(verbose=1)
    assert capsys.readouterr().out == ""
    shares = [float(re.findall(r"value='([\d.]+)'", html)[0]) for html in display.shown]
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert len(shares) > 3
    assert shares[-1] == 1
    assert "epoch 3/3" in display.shown[-1]


def test_lines_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    display = pretend_notebook(monkeypatch, kernel=False)  # IPython in a terminal
    train(verbose=1)
    assert display.shown == []
    assert capsys.readouterr().out.count("epoch ") == 3


def test_the_results_are_those_of_the_weights_that_were_returned() -> None:
    history = History(
        step=np.arange(4),
        train_loss=np.array([2.0, 1.0, 0.5, 0.4]),
        check_step=np.array([0, 1, 2, 3]),
        val_loss=np.array([2.0, 0.7, 0.9, 1.1]),
        val_accuracy=np.array([0.1, 0.81, 0.7, 0.6]),
        train_accuracy=np.zeros(4),
        best_step=1,
        stopped_epoch=3,
        stop_reason="early_stopping",
    )
    shown = cells(history._repr_html_())
    assert (shown["validation loss"], shown["validation accuracy"]) == ("0.7000", "81.00 %")
    assert shown["stopped"] == "as the validation loss no longer fell"


def test_tol_means_another_thing_for_each_solver() -> None:
    of_descent = History(
        step=np.arange(1), train_loss=np.ones(1), stop_reason="tol", stopped_epoch=0
    )
    assert (
        cells(of_descent._repr_html_())["stopped"] == "as the training loss no longer fell by tol"
    )
    of_all = replace(of_descent, objective=np.ones(1), gradient_norm=np.ones(1), gap=np.zeros(1))
    assert cells(of_all._repr_html_())["stopped"] == "at the optimum, up to tol"
