"""Files in svmlight's format: sparse rows all the way."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from command_line import assert_mistake, run
from scipy.sparse import csr_array, issparse
from sklearn.datasets import dump_svmlight_file

from fastlin import LogisticRegression, datasets
from fastlin.errors import InputError


def sparse_problem(seed: int = 0) -> tuple[csr_array, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(200, 12)) * (rng.random((200, 12)) < 0.3)
    X[0, 0] = X[0, 11] = 1.5
    return csr_array(X), np.where(X[:, 2] - X[:, 5] > 0, 1, -1)


@pytest.mark.parametrize("name", ["a.svm", "a.svmlight", "a.libsvm", "a9a", "a9a.t", "a.txt"])
@pytest.mark.parametrize("zero_based", [True, False])
def test_rows_stay_sparse(tmp_path: Path, name: str, zero_based: bool) -> None:
    X, y = sparse_problem()
    dump_svmlight_file(X, y, str(tmp_path / name), zero_based=zero_based)
    data = datasets.load(tmp_path / name, validation_fraction=0)
    assert issparse(data.X_train)
    np.testing.assert_allclose(data.X_train.toarray(), X.toarray(), rtol=1e-15)
    assert data.y_train.dtype == np.int64
    assert data.y_train.tolist() == y.tolist()
    parts = datasets.load(tmp_path / name, validation_fraction=0.25)
    assert parts.X_train.shape == (150, 12)
    assert parts.X_val.shape == (50, 12)
    assert LogisticRegression().fit(parts.X_train, parts.y_train).score(parts.X_val, parts.y_val)


def test_compressed_with_comments_and_plus_signs(tmp_path: Path) -> None:
    text = "# made by hand\n+1 qid:3 1:0.5 3:2 # first\n\n-1 2:1\n+1 3:4\n"
    (tmp_path / "a.svm.gz").write_bytes(gzip.compress(text.encode()))
    data = datasets.load(tmp_path / "a.svm.gz", validation_fraction=0)
    assert data.X_train.toarray().tolist() == [[0.5, 0, 2], [0, 1, 0], [0, 0, 4]]
    assert data.y_train.tolist() == [1, -1, 1]


def test_labels_are_exact(tmp_path: Path) -> None:
    (tmp_path / "a.svm").write_text("9007199254740993 1:1\n9007199254740992 1:2\n")
    data = datasets.load(tmp_path / "a.svm", validation_fraction=0)
    assert data.y_train.tolist() == [2**53 + 1, 2**53]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("# nothing\n", "empty"),
        ("1,2 1:1\n3 1:1\n", "several labels ('1,2')"),
        ("1 1:x\n2 1:1\n", "damaged, or not what its name says"),
        ("spam 1:1\nham 1:2\n", "damaged, or not what its name says"),
        ("1 2:1 1:1\n", "damaged, or not what its name says"),
        ("1 1:nan\n2 1:1\n", "nan or infinite, the first one in row 0"),
        ("1\n2\n", "there is no data"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.svm").write_text(text)
    with pytest.raises(InputError) as caught:
        datasets.load(tmp_path / "a.svm")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("zero_based", [True, False])
def test_a_model_of_the_whole_file_takes_a_part(tmp_path: Path, zero_based: bool) -> None:
    X, y = sparse_problem()
    dump_svmlight_file(X, y, str(tmp_path / "a.svm"), zero_based=zero_based)
    trained = run(
        "train",
        "--data",
        tmp_path / "a.svm",
        "--quiet",
        "--out",
        tmp_path / "m.npz",
        "--l2",
        "1e-3",
    )
    assert trained.code == 0, trained.err
    # Neither the first nor the last feature occurs in these rows.
    kept = np.flatnonzero((X.toarray()[:, 0] == 0) & (X.toarray()[:, 11] == 0))[:30]
    dump_svmlight_file(X[kept], y[kept], str(tmp_path / "part.svm"), zero_based=zero_based)
    done = run("predict", tmp_path / "m.npz", "--data", tmp_path / "part.svm")
    assert done.code == 0, done.err
    expected = LogisticRegression.load(tmp_path / "m.npz").predict(X[kept])
    assert done.out.split()[1:] == [str(label) for label in expected]
    evaluated = run(
        "evaluate", tmp_path / "m.npz", "--data", tmp_path / "part.svm", "--part", "all"
    )
    assert evaluated.code == 0, evaluated.err
    assert "30 rows" in evaluated.out
    (tmp_path / "more.svm").write_text("1 40:1\n-1 3:1\n")
    done = run("predict", tmp_path / "m.npz", "--data", tmp_path / "more.svm")
    assert_mistake(done, "feature of number 40", "12 features")


def test_the_report_needs_dense_rows(tmp_path: Path) -> None:
    X, y = sparse_problem()
    dump_svmlight_file(X, y, str(tmp_path / "a.svm"))
    done = run("report", "--data", tmp_path / "a.svm", "--out", tmp_path / "report", "--quiet")
    assert_mistake(done, "sparse rows", "fastlin train")
    assert not (tmp_path / "report").exists()
