"""Signatures of versions: made with the library `model-signing`, checked with `cryptography` alone."""
