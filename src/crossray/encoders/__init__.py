"""Trunks behind one interface: pixels to ``ImageFeatures``, tokens to ``TextFeatures``."""
