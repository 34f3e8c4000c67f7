"""Rows, labels and weights: read from any container, checked and scaled."""
