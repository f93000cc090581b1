"""What ``crossray data audit`` finds of what was planted, and suspects of what only looks like it."""
