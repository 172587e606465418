"""Prefect flows over the pipeline's own commands; no logic of their own."""
