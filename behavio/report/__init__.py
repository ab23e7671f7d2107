"""The journey report: one HTML file from the tables of a run."""
