"""Filters: `folder = '2024/*' and taken > 2024-05`, from text to the images that meet it."""
