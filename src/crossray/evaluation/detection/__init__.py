"""Detection: predicted boxes matched with true ones over all images, mean average precision and FROC."""
