"""From vectors to neighbours, and from neighbours to honest numbers. No torch."""
