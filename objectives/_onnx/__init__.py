"""A finished ONNX model as the task: its deployments alone are searched."""
