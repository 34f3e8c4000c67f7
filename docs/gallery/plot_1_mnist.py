"""
MNIST: ten digits, ten templates
================================

Softmax regression on the 60 000 handwritten digits of MNIST: how the losses fall, what the weights
look like, and which digits remain hard.
"""

# %%
# The data
# --------
# :func:`fastlin.datasets.load` fetches MNIST on first use. The pixels are 8-bit integers from 0 to
# 255, and stay so: ``input_scale`` scales them to the range 0 to 1 inside the model, without a
# scaled copy of the 47 MB.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import ConfusionMatrixDisplay

from fastlin import LogisticRegression, datasets

data = datasets.load("mnist")
print(data.X_train.shape, data.X_train.dtype, data.X_val.shape)

# %%
# Training
# --------
# Ten passes over the data. The model is checked on the 10 000 test images four times an epoch; the
# checks decide nothing.

model = LogisticRegression(
    input_scale=(0, 1 / 255),
    momentum=0.9,
    max_epochs=10,
    checks_per_epoch=4,
    random_state=0,
)
model.fit(data.X_train, data.y_train, X_val=data.X_val, y_val=data.y_val)
print(f"step size {model.learning_rate_:.4f}, measured on the data")
print(f"accuracy  {model.score(data.X_val, data.y_val):.4f} on images it has not seen")

# %%
# The learning curve
# ------------------
# The loss of the first batch is ln 10 = 2.3 nats, that of a model that knows nothing. The model
# learns most in the first hundred steps; after that, single batches scatter around a slowly falling
# mean. The two accuracies stay close together, since a linear model on so many images hardly
# overfits. The remaining errors are images that a linear model cannot tell apart.

figure = model.history_.plot()

# %%
# What the weights look like
# --------------------------
# Each class has one weight for each pixel, so its weights can be drawn as an image: ink on red
# raises the probability of the class, ink on blue lowers it. The 0 forbids ink in its middle, and
# the outline of most digits can be recognised. Pixels at the border are nearly always empty; the
# model learns nothing about them, and the penalty ``l2`` keeps their weights at 0.

limit = np.quantile(np.abs(model.coef_), 0.995)
figure_weights, axes = plt.subplots(2, 5, figsize=(8, 3.6), layout="constrained")
for digit, (panel, weights) in enumerate(zip(axes.flat, model.coef_, strict=True)):
    image = panel.imshow(weights.reshape(28, 28), cmap="RdBu_r", vmin=-limit, vmax=limit)
    panel.set_title(f"{digit}")
    panel.set_axis_off()
figure_weights.colorbar(image, ax=axes, label="weight of a pixel's value, 0 to 255", shrink=0.9)
plt.show()

# %%
# What remains hard
# -----------------
# Rows are true classes, columns predicted classes, and only mistakes are coloured. The model
# confuses 4 with 9, 3 with 5, and 7 with 9; most unclear images are predicted as 8.

predicted = model.predict(data.X_val)
figure_confusion, axes = plt.subplots(figsize=(5.6, 5), layout="constrained")
ConfusionMatrixDisplay.from_predictions(
    data.y_val,
    predicted,
    ax=axes,
    cmap="Blues",
    colorbar=False,
    im_kw={"vmax": 80},
)
plt.show()

# %%
# These are the mistakes that the model is most confident about. Some are debatable; others show
# that a sum over pixels does not recognise strokes.

probability = model.predict_proba(data.X_val).max(axis=1)
wrong = np.flatnonzero(predicted != data.y_val)
surest = wrong[np.argsort(-probability[wrong])[:10]]
figure_mistakes, axes = plt.subplots(2, 5, figsize=(8, 3.9), layout="constrained")
for panel, row in zip(axes.flat, surest, strict=True):
    panel.imshow(data.X_val[row].reshape(28, 28), cmap="Greys")
    panel.set_title(f"{data.y_val[row]}, not {predicted[row]}")
    panel.set_axis_off()
plt.show()

# sphinx_gallery_thumbnail_number = 2
