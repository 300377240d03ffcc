"""Another precision for a finished ONNX model, and what that reached, node by node."""
