"""Whether new images still look like those that the model knows. No torch."""
