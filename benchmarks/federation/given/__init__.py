"""What a data owner and a scientist bring to the benchmarks: a shard, and three experiment files."""
