"""A workspace: what `udml init` writes (`template/`), and the link that shows DVC the code of its stages."""
