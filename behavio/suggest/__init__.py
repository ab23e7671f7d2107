"""What to do next for each case, why, and when to leave her alone."""

from behavio.suggest.settings import SuggestSettings
from behavio.suggest.write import suggest, write_suggestions

__all__ = ["SuggestSettings", "suggest", "write_suggestions"]
