"""Training of downstream heads: one loop for segmentation, detection and classification, and one for whole grids."""
