"""Searching with a shipped model. Never imports torch."""
