"""Prefect flows of this workspace. Their code is `udml.flows`: it comes with the udml that is installed."""
