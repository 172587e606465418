"""A place on a plane for every image, so that a collection can be looked at as a map."""
