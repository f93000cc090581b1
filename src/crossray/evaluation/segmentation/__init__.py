"""Segmentation: pixels are counted once for each image, and every published score is a sum over those counts."""
