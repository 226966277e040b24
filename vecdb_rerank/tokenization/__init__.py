"""Turn queries and documents into token ids; shared by the ONNX and the torch models."""
