"""Routes, schemas, keys and the page."""
