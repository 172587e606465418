"""An index that changes: what was added to it and removed from it."""
