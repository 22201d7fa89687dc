"""What a user of the workloads writes: networks, and experiment files that name them."""
