"""Learning without labels: pseudo-labels, views, losses, and the loop that ties them."""
