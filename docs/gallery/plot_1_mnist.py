"""
MNIST
=====
Softmax regression.
"""
import fastlin
m = fastlin.LogisticRegression()
