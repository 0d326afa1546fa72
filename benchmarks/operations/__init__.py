"""One small network for each kind of operation, in every framework: what benchmarks/matrix.py tries."""
