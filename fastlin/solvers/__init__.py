"""What is minimised and how: mini-batch gradient descent and L-BFGS."""
