"""udml: learn a retrieval embedding from unlabelled images, ship it as ONNX, search with it."""

__version__ = "0.1.0"
