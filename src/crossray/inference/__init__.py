"""Use of a trained model: load, embed, compare."""
