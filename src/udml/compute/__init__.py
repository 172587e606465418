"""Where the work of the stages is done: on the cores of this machine, or on those of a Ray cluster."""
