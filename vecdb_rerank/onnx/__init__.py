"""Run models in ONNX Runtime, and find their weights."""
