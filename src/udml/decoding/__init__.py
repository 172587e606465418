"""Untrusted files, decoded under a budget: weighed by their header, and in processes that can be killed."""
