"""Views of images: to train on, to cluster by, to look for."""
