"""
Sparse text: which part of SciPy is it about?
=============================================

Text becomes a matrix with one column per word, and a row has non-zeros in few of them. Such a
matrix stays sparse from the vectorizer to the kernels.
"""

# %%
# The text
# --------
# SciPy's docstrings are real text that exists on every machine with fastlin. They are read from
# SciPy's files without importing it. The class of a docstring is the subpackage that it comes from.
# A docstring that occurs twice counts once.

import ast
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import train_test_split

from fastlin import LogisticRegression

SUBPACKAGES = (
    "integrate", "interpolate", "linalg", "ndimage", "optimize",
    "signal", "sparse", "spatial", "special", "stats",
)  # fmt: skip


def docstrings(folder):
    """Yield every docstring of more than 200 characters in a folder's modules."""
    for path in sorted(folder.rglob("*.py")):
        if "tests" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = ast.get_docstring(node)
                if text and len(text) > 200:
                    yield text


scipy = Path(find_spec("scipy").origin).parent
texts = {text: name for name in SUBPACKAGES for text in docstrings(scipy / name)}
names = np.array(list(texts.values()))
text_train, text_val, y_train, y_val = train_test_split(
    list(texts), names, test_size=0.25, random_state=0, stratify=names
)
print(f"{len(texts)} docstrings; for example, of {y_val[0]}:\n{text_val[0][:160]} ...")

# %%
# Words become columns
# --------------------
# Each word that occurs in at least three docstrings is a column. Its value grows with how often the
# word occurs, rare words count more, and each row has length 1 (TF-IDF). The names of the
# subpackages are left out, since they would give the answer away. ``dtype`` asks for float32, which
# takes half the memory of float64.

vectorizer = TfidfVectorizer(
    token_pattern=r"[A-Za-z]{3,}",
    min_df=3,
    sublinear_tf=True,
    stop_words=list(SUBPACKAGES),
    dtype=np.float32,
)
X_train = vectorizer.fit_transform(text_train)
X_val = vectorizer.transform(text_val)
sparse_size = X_train.data.nbytes + X_train.indices.nbytes + X_train.indptr.nbytes
print(f"{X_train.shape[0]} rows, {X_train.shape[1]} columns, of which a row fills", end=" ")
print(f"{X_train.nnz / X_train.shape[0]:.0f} in the mean")
print(f"{sparse_size / 1e6:.1f} MB; as a dense array {4 * np.prod(X_train.shape) / 1e6:.0f} MB")

# %%
# Training
# --------
# Rows of length 1 need large steps, which the automatic step size takes. The penalty is small. With
# as many columns as rows the model could memorise the words of the training set, so early stopping
# lets the validation set decide when to stop.

model = LogisticRegression(
    l2=1e-6,
    momentum=0.9,
    batch_size=32,
    early_stopping=True,
    max_epochs=200,
    tol=None,
    random_state=0,
)
model.fit(X_train, y_train, X_val=X_val, y_val=y_val)
print(f"accuracy {model.score(X_val, y_val):.3f} on docstrings it has not seen")

# %%
# The training loss keeps falling after the validation loss has levelled off.

figure = model.history_.plot()

# %%
# Which words decide
# ------------------
# The plot shows the words with the largest weights for each subpackage. They belong to its subject,
# which shows that the model has learned something sensible.

words = vectorizer.get_feature_names_out()
figure_words, axes = plt.subplots(2, 5, figsize=(11, 5), layout="constrained")
for panel, name, weights in zip(axes.flat, model.classes_, model.coef_, strict=True):
    top = np.argsort(weights)[-7:]
    panel.barh(words[top], weights[top], color="#0072B2")
    panel.set_title(name)
    panel.tick_params(axis="x", labelsize=8)
figure_words.supxlabel("weight")
plt.show()

# %%
# What is mistaken for what
# -------------------------
# Each row shows how the docstrings of one subpackage are predicted, as fractions. Wrong predictions
# are related subpackages (linear algebra on dense and on sparse matrices, integrals of splines) or
# the classes with the most docstrings.

figure_confusion, axes = plt.subplots(figsize=(7, 6.4), layout="constrained")
ConfusionMatrixDisplay.from_predictions(
    y_val,
    model.predict(X_val),
    ax=axes,
    cmap="Blues",
    colorbar=False,
    xticks_rotation=45,
    normalize="true",
    values_format=".2f",
)
plt.show()

# sphinx_gallery_thumbnail_number = 2
