"""What stands between requests and the engine: batches, budgets, the switch to another version."""
