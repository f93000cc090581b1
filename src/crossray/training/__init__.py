"""One loop for every method: optimisation, checkpoints, schedules, resumption."""
