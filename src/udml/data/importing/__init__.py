"""Images in: layouts of folders, the manifest, the built-in sample."""
