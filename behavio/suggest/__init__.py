"""What to do next for each case, why, and when to leave her alone."""

from behavio.suggest.found import Found, files_of, read_previous
from behavio.suggest.settings import SuggestSettings, TriggerRule
from behavio.suggest.timeline import read_slim_log
from behavio.suggest.write import suggest, write_suggestions

__all__ = [
    "Found",
    "SuggestSettings",
    "TriggerRule",
    "files_of",
    "read_previous",
    "read_slim_log",
    "suggest",
    "write_suggestions",
]
