"""Taking a run elsewhere: other libraries' weights, ONNX graphs, a folder to pass on. Begin with ``export.py``."""
