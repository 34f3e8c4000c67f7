"""
Data larger than memory
=======================

Training reads rows where they lie, and they may lie in a file. Here half a gigabyte is trained on
in three ways, while a thread measures how much memory the process takes.
"""

# %%
# A large file
# ------------
# Each image of MNIST is written ten times, moved by up to two pixels in both directions, which is a
# usual way to make more data of some. The file is written block by block through a memory map, so
# that it is never in memory as a whole.

import tempfile
import threading
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fastlin import LogisticRegression, datasets

data = datasets.load("mnist")
images = data.X_train.reshape(-1, 28, 28)
generator = np.random.default_rng(0)
folder = tempfile.TemporaryDirectory()
path = Path(folder.name, "moved.npy")
BLOCK, COPIES = 20_000, 10

rows = np.lib.format.open_memmap(
    path, mode="w+", dtype=np.uint8, shape=(COPIES * len(images), 28 * 28)
)
labels = np.empty(len(rows), np.int64)
for start in range(0, len(rows), BLOCK):
    source = generator.integers(len(images), size=BLOCK)
    frames = sliding_window_view(np.pad(images[source], ((0, 0), (2, 2), (2, 2))), (28, 28), (1, 2))
    down, right = generator.integers(5, size=(2, BLOCK))
    rows[start : start + BLOCK] = frames[np.arange(BLOCK), down, right].reshape(BLOCK, -1)
    labels[start : start + BLOCK] = data.y_train[source]
rows.flush()
print(f"{rows.shape[0]} rows, {path.stat().st_size / 1e6:.0f} MB")
del rows

# %%
# What is measured
# ----------------
# Linux tells two kinds of resident memory apart. ``RssAnon`` is the process's own: arrays that it
# made, which nobody else can take back. ``RssFile`` are pages of files; the system keeps them while
# there is room and drops them when memory is needed for something else. So the first is what must
# fit in memory.


def resident(kind):
    """Return this process's resident memory of one kind, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(kind):
            return int(line.split()[1]) / 1e3
    raise LookupError(kind)


def measured(train):
    """Call ``train`` and return the model, and its own memory (MB) over time (s) meanwhile."""
    before, started, samples, ended = resident("RssAnon"), time.perf_counter(), [], []

    def watch():
        while not ended:
            samples.append((time.perf_counter() - started, resident("RssAnon") - before))
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        model = train()
    finally:
        ended.append(True)
        watcher.join()
    return model, np.array(samples)


# %%
# Three ways
# ----------
# *All in memory* loads the file first. *Memory map* passes the file as it is: the rows are read in
# random order, which is quick as long as the file stays among the system's pages. *In blocks*
# reads the file from its beginning to its end and gives each block to ``partial_fit``, which is how
# to go through a file that is larger than all memory: a disk is good at that, and bad at single
# rows in random order. (Here that is fair because the file was written in random order.)

options = {"input_scale": (0, 1 / 255), "momentum": 0.9, "random_state": 0}


def in_memory():
    """Load the whole file, then train for two epochs."""
    return LogisticRegression(max_epochs=2, **options).fit(np.load(path), labels)


def memory_map():
    """Train for two epochs on the file."""
    return LogisticRegression(max_epochs=2, **options).fit(np.load(path, mmap_mode="r"), labels)


def in_blocks():
    """Go through the file twice, a block at a time."""
    file = np.load(path, mmap_mode="r")
    model = LogisticRegression(**options)
    for _ in range(2):
        for start in range(0, len(file), BLOCK):
            block = slice(start, start + BLOCK)
            model.partial_fit(np.array(file[block]), labels[block], classes=range(10))
    return model


# Kernels are compiled, and threads started, before anything is measured.
LogisticRegression(max_epochs=1, **options).fit(data.X_train[:1000], data.y_train[:1000])

runs = {
    "all in memory": measured(in_memory),
    "memory map": measured(memory_map),
    "in blocks": measured(in_blocks),
}
for name, (model, samples) in runs.items():
    accuracy = model.score(data.X_val, data.y_val)
    print(f"{name:13}  at most {samples[:, 1].max():5.0f} MB  accuracy {accuracy:.3f}")

# %%
# What one sees
# -------------
# The first way takes the size of the file. The two others stay flat: what they need, an order of
# the rows, a sample of rows from which the step size is measured, and, in blocks, one block, comes
# to some tens of megabytes whatever the file's size. (The figures are lower where memory that was
# freed before, when the file was made, is used again.) The first two end with the same weights, to
# the last bit.

figure, axes = plt.subplots(figsize=(7.5, 4), layout="constrained")
for (name, (_, samples)), color, dashes in zip(
    runs.items(), ("#D55E00", "#0072B2", "#009E73"), ("-", "--", "-."), strict=True
):
    axes.plot(samples[:, 0], samples[:, 1], color=color, linestyle=dashes, label=name)
axes.axhline(path.stat().st_size / 1e6, color="0.4", linewidth=1, linestyle=":")
axes.annotate("the file", (0, path.stat().st_size / 1e6), (2, 3), textcoords="offset points")
axes.set(xlabel="seconds", ylabel="own memory beyond the start (MB)", ylim=(-10, 550))
axes.legend(frameon=False, loc="center right")
plt.show()

assert np.array_equal(runs["all in memory"][0].coef_, runs["memory map"][0].coef_)
assert runs["memory map"][1][:, 1].max() < 100
folder.cleanup()
