"""Benchmarks: one module per figure, run by `python -m bench.<figure>` or all by `make bench`."""
