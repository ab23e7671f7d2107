"""Groups of cases that interact alike, with names a person understands."""
