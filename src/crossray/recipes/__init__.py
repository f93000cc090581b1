"""Recipes that commands need wherever the package is installed; the others are in the repository's ``recipes/``."""
