"""The page of `udml judge`: pairs of pictures, one at a time, and what the answers say by now. No torch."""
