"""Fuzzing of what strangers and other programs write: run by hand; see `__main__`."""
