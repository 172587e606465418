"""What a version tells others: what it is made of, its card, where it came from, how it compares."""
