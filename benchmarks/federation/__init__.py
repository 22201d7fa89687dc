"""What the benchmarks of a real federation share: its ground, the kernel's view of it, and the floor beside it."""
