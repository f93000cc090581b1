"""One file per data set, each reading exactly the layout its publisher ships."""
