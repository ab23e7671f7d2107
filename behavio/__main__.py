"""`python -m behavio` is the behavio command."""

from behavio.cli import main

main()
