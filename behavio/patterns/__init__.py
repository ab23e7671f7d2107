"""Frequent, closed and telling patterns, what comes before an outcome, and a language to ask for patterns."""

from behavio.contrasts import false_discovery
from behavio.patterns.chance import Chance, Difference, against_chance, against_rest
from behavio.patterns.communications import Communications, communications
from behavio.patterns.find import Findings, find, patterns, write_patterns
from behavio.patterns.holders import holding, matching_cases
from behavio.patterns.language import PatternError, parse
from behavio.patterns.matcher import Matcher
from behavio.patterns.matches import Matches, match
from behavio.patterns.mine import Patterns, frequent, most_frequent
from behavio.patterns.nodes import Pattern
from behavio.patterns.outcome import OUTCOME_SCHEMA, Precedents, precedes
from behavio.patterns.rules import Rules
from behavio.patterns.settings import PatternSettings
from behavio.patterns.tables import PATTERN_SCHEMA

__all__ = [
    "Chance",
    "Communications",
    "Difference",
    "Findings",
    "Matcher",
    "Matches",
    "OUTCOME_SCHEMA",
    "PATTERN_SCHEMA",
    "Pattern",
    "PatternError",
    "PatternSettings",
    "Patterns",
    "Precedents",
    "Rules",
    "against_chance",
    "against_rest",
    "communications",
    "false_discovery",
    "find",
    "frequent",
    "holding",
    "match",
    "matching_cases",
    "most_frequent",
    "parse",
    "patterns",
    "precedes",
    "write_patterns",
]
