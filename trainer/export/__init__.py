"""Trained protectors as ONNX graphs."""
