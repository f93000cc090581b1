"""Several evaluations side by side: aligned, averaged over seeds, subtracted by pairs, laid out and drawn."""
