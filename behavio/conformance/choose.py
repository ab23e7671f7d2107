"""Which events of a log a plan means: by activity, wildcards, values of attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase

import numpy as np

from behavio.errors import JobError
from behavio.sequences import SequenceSet


@dataclass(slots=True, eq=False)
class Chooser:
    """Chooses events; what no event fits is noted, because a plan may name what never happened."""

    sequences: SequenceSet
    notes: list[str] = field(default_factory=list)

    def activities(self, text: str) -> np.ndarray:
        """bool (size,): the activities of the log that a name, or alternatives with wildcards, means."""
        names = self.sequences.vocabulary.names
        parts = [text] if text in names else [p.strip() for p in text.split("|")]
        found = np.array(
            [i > 1 and any(n == p or fnmatchcase(n, p) for p in parts) for i, n in enumerate(names)]
        )
        if not found.any():
            near = get_close_matches(text, names[2:], 1, 0.5)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            note = f"no event of this log is {text!r}{meant}"
            if note not in self.notes:
                self.notes.append(note)
        return found

    def events(self, text: str, where: Mapping[str, str] | None = None) -> np.ndarray:
        """bool (n_events,): the events with such an activity and these values of attributes.

        Errors: JobError for an attribute the log does not have.
        """
        chosen = self.activities(text)[np.asarray(self.sequences.tokens)]
        for name, value in (where or {}).items():
            chosen &= self.having(name, value)
        return chosen

    def having(self, name: str, value: str) -> np.ndarray:
        """bool (n_events,): the events whose attribute has this value, or one of several ("X|Y*")."""
        known = self.sequences.fields
        if name not in known:
            have = ", ".join(known) or "none"
            raise JobError(
                f"the log has no attribute {name!r}", hint=f"attributes that plans can use: {have}"
            )
        names = known[name].vocabulary.names
        parts = [p.strip() for p in str(value).split("|")]
        fits = np.array(
            [i > 1 and any(n == p or fnmatchcase(n, p) for p in parts) for i, n in enumerate(names)]
        )
        if not fits.any():
            note = f"no event of this log has {name} {value!r}"
            if note not in self.notes:
                self.notes.append(note)
        return fits[known[name].codes]
