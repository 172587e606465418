"""A model and its collection, open for searches and changes."""
