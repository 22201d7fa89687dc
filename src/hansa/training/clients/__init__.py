"""Client classes as works: over lists of NumPy arrays, as Flower has them."""
