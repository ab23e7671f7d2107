"""A pattern said back in words, so that a reader sees how it was understood."""

from __future__ import annotations

from behavio.patterns.nodes import Ban, Item, Link, Pattern
from behavio.words import duration


def read_back(pattern: Pattern) -> str:
    """For example "email_sent, later email_open; all within 14 days; no call_f2f in between"."""
    items = pattern.steps.items
    said = [_item(item, i, items) for i, item in enumerate(items)]
    if pattern.at_start:
        said[0] = f"the case starts with {said[0]}"
    if pattern.at_end:
        said[-1] += " as its last event"
    parts = [", ".join(said), *_whole(pattern.whole), *(_ban(ban, pattern) for ban in pattern.bans)]
    return "; ".join(parts)


def _item(item: Item, place: int, items: tuple[Item, ...]) -> str:
    link = item.link
    text = item.text
    if item.most is None or item.most > 1 or item.least != 1:
        plain = text.split("{")[0].rstrip("+?")
        often = f"{item.least} to {item.most}" if item.most is not None else f"{item.least} or more"
        if item.most == item.least:
            often = f"{item.least}"
        text = f"{plain} ({'perhaps' if (item.least, item.most) == (0, 1) else often + ' times'})"
    if place == 0:
        return text
    before = items[place - 1].text
    limits = [f"within {duration(link.max_time / 1e6)} of {before}"] if link.max_time >= 0 else []
    if link.max_events > 1:
        limits.append(f"within {link.max_events} events of {before}")
    if link.min_time:
        limits.append(f"at least {duration(link.min_time / 1e6)} after {before}")
    how = "directly next" if link.max_events == 1 else "later"
    return f"{how} {text}" + (f" ({', '.join(limits)})" if limits else "")


def _whole(whole: Link) -> list[str]:
    said = [f"all within {duration(whole.max_time / 1e6)}"] if whole.max_time >= 0 else []
    return said + ([f"all within {whole.max_events} events"] if whole.max_events else [])


def _ban(ban: Ban, pattern: Pattern) -> str:
    names = "|".join(step.text for step in ban.steps)
    items, last = pattern.steps.items, len(pattern.steps.items) - 1
    if ban.where == "start":
        return f"no {names} earlier in the case"
    if ban.where == "end":
        within = f"in the {duration(ban.within / 1e6)} after" if ban.within >= 0 else "ever after"
        return f"no {names} {within} {items[last].text}"
    if ban.where == "whole":
        return f"no {names} in between"
    if ban.where == "before":
        return f"no {names} between {items[0].text} and {items[ban.last].text}"
    return f"no {names} between {items[ban.first].text} and {items[ban.last].text}"
