"""The parts of the page, one module each: a function from Context to Section, or None without data."""
