"""Heads of the downstream tasks on any trunk: segmentation, detection and linear classification."""
