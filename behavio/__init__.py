"""behavio: a behavioral sequence mining engine for life-science commercial teams."""

__version__ = "0.1.0"
