"""
In a notebook
=============

What a notebook shows of a model and its run. This page is also a notebook: the link at its end
downloads it, and every result below appears in it when its cells run.
"""

# %%
# A model shows its options, what was learned, and how the run went
# -----------------------------------------------------------------
# The last line of a cell is shown. Before training a model shows its options; afterwards also a
# table of results and the learning curve. With ``verbose=1`` a notebook shows a bar while it
# trains.

from fastlin import LogisticRegression, datasets

digits = datasets.load("digits", seed=0)
model = LogisticRegression(input_scale=(0, 1 / 16), momentum=0.9, max_epochs=20, random_state=0)
model.fit(digits.X_train, digits.y_train, X_val=digits.X_val, y_val=digits.y_val)

# %%
# The history alone
# -----------------
# L-BFGS says how far the objective can be above its optimum.

optimum = LogisticRegression(solver="lbfgs", input_scale=(0, 1 / 16), l2=1e-3)
optimum.fit(digits.X_train, digits.y_train, X_val=digits.X_val, y_val=digits.y_val)
optimum.history_
