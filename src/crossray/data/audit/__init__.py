"""What a data set gives away: patients on two sides, copies, labels in the text, and what identifies people."""
