"""Which label-free figure follows the truth."""
