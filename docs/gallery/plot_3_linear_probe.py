"""
A linear probe on embeddings, and how strong to make its penalty
================================================================

A linear probe trains a linear model on the output of a frozen network, and so measures how much the
embedding already says about the labels. Its one free choice is the penalty; a regularisation path
tries many.
"""

# %%
# An embedding that needs no labels
# ---------------------------------
# Any frozen network will do. This one is a single layer, learned in a second from the images alone,
# as in Coates, Ng and Lee, "An analysis of single-layer networks in unsupervised feature learning"
# (2011). Small patches are whitened and clustered, and the centres are the layer's filters. Each
# quarter of an image is described by how close its patches are to each centre.

import matplotlib.pyplot as plt
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.cluster import MiniBatchKMeans

import fastlin
from fastlin import datasets

SIZE, FILTERS = 6, 100


def patches(images):
    """Return all patches ``(n, 23, 23, 36)`` of images ``(n, 28, 28)``, each of mean 0."""
    windows = sliding_window_view(images, (SIZE, SIZE), (1, 2)).reshape(len(images), 23, 23, -1)
    windows = windows.astype(np.float32) / 255
    return windows - windows.mean(axis=-1, keepdims=True)


data = datasets.load("mnist")
generator = np.random.default_rng(0)
order = generator.permutation(len(data.X_train))[:4500]
train, val = order[:3000], order[3000:]
images = data.X_train.reshape(-1, 28, 28)

some = patches(images[train[:400]]).reshape(-1, SIZE * SIZE)
some = some[np.linalg.norm(some, axis=1) > 0.5]  # not the empty border
values, vectors = np.linalg.eigh(np.cov(some.T))
whitening = (vectors / np.sqrt(values + 0.01)) @ vectors.T
kmeans = MiniBatchKMeans(FILTERS, n_init=1, batch_size=4096, max_iter=20, random_state=0)
centres = kmeans.fit(some @ whitening).cluster_centers_.astype(np.float32)


def embed(pixels):
    """Return the embedding ``(n, 400)`` of rows of pixels ``(n, 784)``."""
    parts = []
    for rows in np.array_split(pixels.reshape(-1, 28, 28), len(pixels) // 100):
        whitened = patches(rows) @ whitening.astype(np.float32)
        squares = np.square(whitened).sum(axis=-1, keepdims=True) + np.square(centres).sum(axis=1)
        distance = np.sqrt(np.maximum(squares - 2 * whitened @ centres.T, 0))
        near = np.maximum(distance.mean(axis=-1, keepdims=True) - distance, 0)
        quarters = [
            near[:, i : i + 12, j : j + 12].mean(axis=(1, 2)) for i in (0, 11) for j in (0, 11)
        ]
        parts.append(np.hstack(quarters))
    return np.vstack(parts)


pixels = {"train": data.X_train[train], "val": data.X_train[val], "test": data.X_val[:3000]}
embedding = {part: embed(rows) for part, rows in pixels.items()}
y, y_val, y_test = data.y_train[train], data.y_train[val], data.y_val[:3000]
print(embedding["train"].shape, embedding["train"].dtype)

# %%
# The filters are strokes at many angles, and the ends of strokes.

figure_filters, axes = plt.subplots(5, 20, figsize=(9, 2.4), layout="constrained")
for panel, centre in zip(axes.flat, centres, strict=True):
    panel.imshow(centre.reshape(SIZE, SIZE), cmap="gray")
    panel.set_axis_off()
plt.show()

# %%
# All penalties at once
# ---------------------
# :func:`fastlin.path` fits each penalty to its optimum, from the strongest to the weakest. Each fit
# starts where the last one ended and is scored on the validation set. One path is for the
# embedding, and one for the bare pixels as a comparison. Embeddings have features of all sizes, so
# they are standardised.

penalties = np.logspace(0, -6, 13)
probe = fastlin.path(
    embedding["train"],
    y,
    penalties,
    X_val=embedding["val"],
    y_val=y_val,
    input_scale="standard",
    max_epochs=500,
)
bare = fastlin.path(
    pixels["train"],
    y,
    penalties,
    X_val=pixels["val"],
    y_val=y_val,
    input_scale=(0, 1 / 255),
    max_epochs=500,
)
for name, found, rows in (("embedding", probe, embedding), ("pixels", bare, pixels)):
    print(f"{name:10} best l2 {found.best.l2:.0e}", end="  ")
    print(f"accuracy on test images {found.best.score(rows['test'], y_test):.3f}")

# %%
# The two paths
# -------------
# On the left the penalty is too strong: the weights are too small to say much, and the loss is
# close to that of guessing, ln 10 = 2.3. On the right it is too weak: with 3000 rows the model is
# confident about everything, and often wrong about images it has not seen. In between is a broad
# valley. It is much deeper for the embedding, in which planes separate the classes better. The
# accuracy hardly suffers from a weak penalty; the loss, which measures probabilities, does. (The
# test images had no part in choosing the penalty.)

figure_path, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
for name, found, color, dashes in (
    ("embedding", probe, "#0072B2", "-"),
    ("pixels", bare, "#D55E00", "--"),
):
    left.plot(found.l2, found.val_loss, color=color, linestyle=dashes, label=name)
    right.plot(found.l2, found.val_accuracy, color=color, linestyle=dashes, label=name)
    best = np.argmin(found.val_loss)
    left.plot(found.l2[best], found.val_loss[best], "o", color=color)
    right.plot(found.l2[best], found.val_accuracy[best], "o", color=color)
for panel in (left, right):
    panel.set(xscale="log", xlabel="l2, strong to weak")
    panel.invert_xaxis()
left.set_ylabel("validation loss (nats)")
right.set_ylabel("validation accuracy")
left.legend(frameon=False)
plt.show()

# sphinx_gallery_thumbnail_number = 2
