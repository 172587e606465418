"""The map of what is in a collection now, as the page reads it."""
