"""
Early stopping on your own validation set
=========================================

With few rows and many features a model memorises its training rows. A validation set shows when
that begins, and ``early_stopping=True`` returns the weights from before.
"""

# %%
# Few rows, many features
# -----------------------
# 300 images of MNIST with 784 pixels each are few enough for the model to separate any labels. 5000
# other images are the validation set, and the 10 000 test images judge the result. They must be a
# third set, because a model chosen on the validation set looks a little better there than it is.

import matplotlib.pyplot as plt
import numpy as np

from fastlin import LogisticRegression, datasets

data = datasets.load("mnist")
order = np.random.default_rng(0).permutation(len(data.X_train))
few, held_out = order[:300], order[300:5300]
X, y = data.X_train[few], data.y_train[few]
X_val, y_val = data.X_train[held_out], data.y_train[held_out]

# %%
# To the end
# ----------
# This model trains for 400 epochs, with almost no penalty and without stopping. (With no penalty at
# all fastlin warns, because the weights of separable rows grow forever.) ``tol=None`` prevents
# training from ending when the training loss hardly falls any more.

options = {
    "input_scale": (0, 1 / 255),
    "momentum": 0.9,
    "l2": 1e-6,
    "batch_size": 32,
    "tol": None,
    "random_state": 0,
}
to_the_end = LogisticRegression(max_epochs=400, **options)
to_the_end.fit(X, y, X_val=X_val, y_val=y_val)

# %%
# Stopped
# -------
# The same model, but training ends after 20 checks in a row that did not lower the best validation
# loss, and the weights of the best check are returned. ``max_epochs`` is now only a limit.

stopped = LogisticRegression(max_epochs=400, early_stopping=True, patience=20, **options)
stopped.fit(X, y, X_val=X_val, y_val=y_val)
history = stopped.history_
print(f"best after step {history.best_step}, stopped after step {history.stopped_step}")
print(f"because of: {history.stop_reason}")

# %%
# The losses
# ----------
# The training loss keeps falling; the validation loss reaches its minimum early and rises again.
# The shaded steps are those that early stopping waited, in vain. Until the end of these steps, both
# runs are equal to the last bit, since they have the same seed.

epochs = to_the_end.history_
train_loss = epochs.train_loss.reshape(-1, epochs.steps_per_epoch).mean(axis=1)
middle = (np.arange(len(train_loss)) + 0.5) * epochs.steps_per_epoch
checked = epochs.check_step + 1  # a check is made after its step
figure, axes = plt.subplots(figsize=(7.5, 4), layout="constrained")
axes.plot(middle, train_loss, color="#0072B2", linestyle="--", label="training, epoch mean")
axes.plot(checked, epochs.val_loss, color="#D55E00", label="validation")
axes.axvspan(history.best_step + 1, history.stopped_step + 1, color="0.88", label="patience")
axes.axvline(history.best_step + 1, color="0.4", linewidth=1, label="returned")
axes.set(xscale="log", xlabel="training steps made", ylabel="cross-entropy (nats)", ylim=0)
axes.legend(frameon=False)
plt.show()

# %%
# What early stopping achieves
# ----------------------------
# The accuracy differs little, since most mistakes are the same. Early stopping improves the
# probabilities. The model trained to the end is confident about everything, including its mistakes,
# and the mean cross-entropy on the test images shows it. (Early stopping also saves most of the
# time.)


def test_loss(model):
    """Return the mean cross-entropy on the test images, in nats."""
    return -model.predict_log_proba(data.X_val)[np.arange(len(data.y_val)), data.y_val].mean()


for name, model in {"to the end": to_the_end, "stopped": stopped}.items():
    accuracy = model.score(data.X_val, data.y_val)
    print(f"{name:10}  test loss {test_loss(model):.3f}  accuracy {accuracy:.3f}")

# %%
# A penalty has a similar effect, and the two can be combined. The example on embeddings shows how
# to find a good penalty.
