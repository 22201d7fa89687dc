"""Asynchrony: how soon a model is good where clients differ in speed. `python -m benchmarks.asynchrony`."""
