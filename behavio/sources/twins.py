"""Mappings that say only how they differ from another one: `like`, `names` and `[rename]`.

Vault CRM holds what Veeva CRM holds under other names, so its mappings say `like = "veeva.call"` and how
the names change; everything else in such a file wins over the mapping it is like.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

from behavio.errors import JobError

PLACE = re.compile(r"\{([^{}]+)\}")
WORDS = ("title", "why", "nobody")
"""Keys whose text is for people: never renamed."""
Rules = Mapping[str, Any]


def whole(table: dict[str, Any], where: str, known: Mapping[str, str], depth: int = 0) -> dict[str, Any]:
    """The table with everything it takes from the mapping it is `like`, renamed, its own keys on top.

    `known` holds the text of every built-in mapping. Raises JobError for an unknown `like` or `names`.
    """
    own = {k: v for k, v in table.items() if k not in ("like", "names", "rename")}
    if "like" not in table:
        if {"names", "rename"} & table.keys():
            raise JobError(f"{where} renames, but is like no other mapping", hint='add like = "veeva.call"')
        return own
    like = table["like"]
    if not isinstance(like, str) or like not in known or depth > 5:
        raise JobError(f"{where} is like {like!r}, which is no mapping", hint=f"one of {', '.join(known)}")
    base = whole(tomllib.loads(known[like]), f"mapping {like}", known, depth + 1)
    rules = {**_names(table.get("names"), where), **_table(table.get("rename", {}), f"{where}, rename")}
    return _merged(_renamed(base, rules), own)


def name_sets() -> list[str]:
    """What `names` may say: the sets of names that lie beside the built-in mappings."""
    return sorted(p.name.removesuffix(".toml") for p in _folder().iterdir() if p.name.endswith(".toml"))


def _folder() -> Any:
    return resources.files("behavio").joinpath("sources/mappings/names")


def _names(named: Any, where: str) -> Rules:
    if named is None:
        return {}
    if named not in name_sets():
        raise JobError(f"{where}: names {named!r} are not known", hint=f"one of {', '.join(name_sets())}")
    return tomllib.loads(_folder().joinpath(f"{named}.toml").read_text(encoding="utf-8"))


def _table(rules: Any, where: str) -> Rules:
    texts = isinstance(rules, dict) and all(
        isinstance(v, str) or (isinstance(v, list) and v and all(isinstance(x, str) for x in v))
        for v in rules.values()
    )
    if not texts:
        raise JobError(f"{where} must hold names and what they become", hint='Status_vod__c = "status__v"')
    return dict(rules)


def _merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Own keys over those of the base; tables merge, lists and texts replace, `false` takes away."""
    found = dict(base)
    for key, value in own.items():
        before = found.get(key)
        if value is False and isinstance(before, dict | list):
            del found[key]
            continue
        both = isinstance(before, dict) and isinstance(value, dict)
        found[key] = _merged(before, value) if both else value  # type: ignore[arg-type]
    return found


def _renamed(value: Any, rules: Rules) -> Any:
    """Names in a mapping's tables under the rules: columns, picklist values, files, joined columns."""
    if isinstance(value, dict):
        return {
            _one(k, rules): v if k in WORDS else _renamed(v, rules) for k, v in value.items() if v is not None
        }
    if isinstance(value, list):
        parts = [_renamed(v, rules) for v in value]
        flat: Iterable[Any] = (x for p in parts for x in (p if isinstance(p, list) else [p]))
        return list({str(x): x for x in flat}.values())
    if not isinstance(value, str):
        return value
    if PLACE.search(value):
        return PLACE.sub(lambda m: "{" + _one(m.group(1), rules) + "}", value)
    names = candidates(value, rules)
    return names[0] if len(names) == 1 else names


def _one(name: str, rules: Rules) -> str:
    return candidates(name, rules)[0]


def candidates(name: str, rules: Rules) -> list[str]:
    """What a name may be called under the rules, the likeliest first; a name without a rule stays.

    A whole name wins over an ending (`"*_vod__c" = "~__v"`: `*` is what stands there, `~` the same in
    small letters); a dotted name is looked up as a whole, then part by part, a file without its ending.

    >>> candidates("call.Account_vod__c", {"*_vod__c": "~__v"})
    ['call.account__v']
    """
    if (found := rules.get(name)) is not None:
        return [found] if isinstance(found, str) else list(found)
    if name.endswith(".csv"):
        return [f"{n}.csv" for n in candidates(name.removesuffix(".csv"), rules)]
    if "." in name:
        head, _, tail = name.partition(".")
        return [f"{h}.{t}" for h in candidates(head, rules) for t in candidates(tail, rules)]
    for ending, becomes in rules.items():
        if ending.startswith("*") and len(name) > len(ending) - 1 and name.endswith(ending[1:]):
            stem = name[: len(name) - len(ending) + 1]
            shapes = [becomes] if isinstance(becomes, str) else list(becomes)
            return [s.replace("*", stem).replace("~", stem.lower()) for s in shapes]
    return [name]
