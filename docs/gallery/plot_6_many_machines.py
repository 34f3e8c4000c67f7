"""
Parquet on many machines
========================

Rows in Parquet files are read and trained on by the workers of a Dask cluster. Some of the files
are held back. The cluster here is this process; on many machines only the line with
``Client`` differs.
"""

# %%
# Files
# -----
# Half a million measurements of three kinds, in twelve files, as another program may leave them.

import tempfile
from pathlib import Path

import dask.dataframe as dd
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from distributed import Client

import fastlin
import fastlin.dask

generator = np.random.default_rng(0)
folder = tempfile.TemporaryDirectory()
NAMES = [f"sensor {place}" for place in range(20)]
truth = generator.standard_normal((20, 3))
for part in range(12):
    rows = generator.standard_normal((42_000, 20)).astype(np.float32)
    kind = (rows @ truth + 3 * generator.gumbel(size=(42_000, 3))).argmax(axis=1)
    table = pd.DataFrame(rows, columns=NAMES)
    table["kind"] = np.array(["calm", "rain", "storm"])[kind]
    table.to_parquet(Path(folder.name, f"part-{part:02}.parquet"))

# %%
# Training
# --------
# The last two files are held back. Every worker reads some of the others, and keeps them in memory.
# After each iteration the model is checked on the rows that were held back.

client = Client(processes=False, n_workers=2, threads_per_worker=1, dashboard_address=":0")
files = sorted(map(str, Path(folder.name).glob("*.parquet")))
train, held_back = dd.read_parquet(files[:10]), dd.read_parquet(files[10:])
model = fastlin.dask.LogisticRegression(l2=1e-5, verbose=1)
model.fit(train, "kind", X_val=held_back[NAMES], y_val=held_back["kind"])
print(f"accuracy on the held back files: {model.score(held_back, 'kind'):.4f}")

# %%
# The objective falls to its optimum, and the certificate shows how far from it each iteration was.

history = model.history_
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
left.semilogy(np.maximum(history.gap, 1e-16), "o-")
left.set(xlabel="iteration", ylabel="distance from the optimum")
right.plot(history.val_loss, "o-")
right.set(xlabel="iteration", ylabel="loss on the held back files")

# %%
# The same bits
# -------------
# One machine that has all rows in memory ends with the same weights, bit by bit.

one_machine = fastlin.LogisticRegression(solver="lbfgs", l2=1e-5)
all_rows = train.compute()
one_machine.fit(all_rows[NAMES], all_rows["kind"])
print("same bits:", bool((one_machine.coef_ == model.coef_).all()))
client.close()
folder.cleanup()
