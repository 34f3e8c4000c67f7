"""skops keeps a model as a pickle does, without running code that one does not trust."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastlin import LogisticRegression

sio = pytest.importorskip("skops.io")

X = np.random.default_rng(0).standard_normal((60, 3))
Y = np.array(["ant", "bee", "cat"])[np.arange(60) % 3]


@pytest.mark.parametrize(
    "options",
    [{}, {"momentum": 0.5, "average": True, "input_scale": "standard"}, {"solver": "lbfgs"}],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_model_comes_back(options: dict[str, Any]) -> None:
    model = LogisticRegression(backend="numpy", max_epochs=4, random_state=0, **options).fit(X, Y)
    kept = sio.dumps(model)
    types = sio.get_untrusted_types(data=kept)
    assert all(name.startswith("fastlin.") for name in types)
    again = sio.loads(kept, trusted=types)
    assert again.get_params() == model.get_params()
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    found, expected = (one.set_params(solver="sgd").partial_fit(X, Y) for one in (again, model))
    np.testing.assert_array_equal(found.coef_, expected.coef_)
