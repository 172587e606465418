"""The work on a cluster beside the work on this machine."""
