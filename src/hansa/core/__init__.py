"""The core: pure values and functions over the standard library and NumPy.

`tree`, `keys`, `metrics` are what numbers live in; `work`, `ask`, `population`, `sampling` are the vocabulary in which an
algorithm speaks with whatever executes it; `gate` and `private` are rules that every executor keeps; `history` is what is
left of a run.
"""
