"""Pseudo-labels: clusters of embeddings."""
