"""From a trained network to checked ONNX files. Needs torch; what searches does not."""
