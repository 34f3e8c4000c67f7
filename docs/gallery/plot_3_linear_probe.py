"""
A linear probe on embeddings, and how strong to make its penalty
================================================================

A linear probe trains a linear model on what a frozen network makes of the data, and so measures how
much of the labels the embedding already tells. Its one free choice is the penalty; a regularisation
path tries them all.
"""

# %%
# An embedding that needs no labels
# ---------------------------------
# Any frozen network will do. This one is a single layer, learned in a second from the images alone,
# as in Coates, Ng and Lee, "An analysis of single-layer networks in unsupervised feature learning"
# (2011): small patches are whitened and clustered, the centres are the layer's filters, and each
# quarter of an image is described by how near its patches come to each centre.

import matplotlib.pyplot as plt
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.cluster import MiniBatchKMeans

from fastlin import LogisticRegression, datasets

SIZE, FILTERS = 6, 100


def patches(images):
    """Return all patches ``(n, 23, 23, 36)`` of images ``(n, 28, 28)``, each of mean 0."""
    windows = sliding_window_view(images, (SIZE, SIZE), (1, 2)).reshape(len(images), 23, 23, -1)
    windows = windows.astype(np.float32) / 255
    return windows - windows.mean(axis=-1, keepdims=True)


data = datasets.load("mnist")
generator = np.random.default_rng(0)
order = generator.permutation(len(data.X_train))[:6000]
train, val = order[:4000], order[4000:]
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


E_train, E_val = embed(data.X_train[train]), embed(data.X_train[val])
E_test, y_test = embed(data.X_val[:4000]), data.y_val[:4000]
print(E_train.shape, E_train.dtype)
