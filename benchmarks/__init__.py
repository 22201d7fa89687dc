"""Benchmarks: ratios against a hand-written floor, both taken in turn in one run. `make bench`."""
