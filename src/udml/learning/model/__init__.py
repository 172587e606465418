"""The network: backbone, its frozen norms, heads, and what it is shown."""
