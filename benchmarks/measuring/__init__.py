"""What the benchmarks share: interleaved timing, inputs, and the report each of them makes."""
