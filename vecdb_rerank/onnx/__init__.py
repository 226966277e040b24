"""ONNX Runtime: models and where their weights come from."""
