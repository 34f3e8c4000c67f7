"""
Data larger than memory
=======================

Training reads rows in place, and they may be in a file. This example trains on half a gigabyte in
three ways, while a thread measures how much memory the process takes.
"""

# %%
# A large file
# ------------
# On average each image of MNIST is written ten times, moved by up to two pixels in both directions,
# which is a common way to augment data. The file is written block by block through a memory map, so
# it is never in memory as a whole.

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
# Linux distinguishes two kinds of resident memory. ``RssAnon`` is the process's own: arrays that it
# made, which the system cannot reclaim. ``RssFile`` counts pages of files, which the system keeps
# while there is room and drops when it needs the memory for something else. So only the first must
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
# random order, which is quick while the file stays in the system's page cache. *In blocks* reads
# the file from beginning to end and passes each block to ``partial_fit``. This is the way to read a
# file that is larger than memory: a disk is fast at that, and slow at single rows in random order.
# (It gives a fair sample here because the file was written in random order.)

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


# Compile the kernels and start the threads before measuring anything.
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
# The memory of each way
# ----------------------
# The first way takes the size of the file. The other two stay flat. They need the order of the
# rows, a sample of rows to measure the step size and, in blocks, one block: some tens of megabytes,
# whatever the size of the file. (The figures are lower if memory that was freed after writing the
# file is reused.) The first two end with the same weights, to the last bit.

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
