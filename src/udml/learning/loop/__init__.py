"""The training loop: rounds, steps, checkpoints."""
