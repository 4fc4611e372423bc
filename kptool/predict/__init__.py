"""Prediction: face detection, crops, backends, output formats, ONNX export."""
