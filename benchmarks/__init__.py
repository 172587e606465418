"""Benchmarks: one command per table of the README and the docs."""
