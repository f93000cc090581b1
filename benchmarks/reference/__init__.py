"""Plain loops, written from the specs as published code goes about it: what the speed of CrossRay is measured against.

Each is checked against ours in ``tests/test_reference_loops.py``, in value and gradient.
"""
