"""Vectors of images, an index of them, and its stage."""
