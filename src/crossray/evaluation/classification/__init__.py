"""Classification by calls: counts at a threshold, operating points chosen on validation, one class of several."""
