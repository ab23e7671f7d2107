"""What to do next for each case, why, and when to leave it alone."""
