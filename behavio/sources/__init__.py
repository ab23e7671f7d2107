"""Readers: what the company has, as it is, to events, cases and consents."""
