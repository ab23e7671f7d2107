"""The contract of everything that learns: settings in, `learned_` arrays out, saved without pickle."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from behavio.errors import ModelError, NotFittedError
from behavio.files import read_json, whole_file, write_json
from behavio.sequences import Vocabulary

FORMAT = 1
"""Of saved estimators; a file without it is of the first."""


@dataclass
class Estimator:
    """Settings are dataclass fields; what `fit` learns ends in `_`.

    `save` writes model.json (class, settings, vocabulary) and learned.npz; `load` reads them back with
    pickle forbidden. Subclasses list the arrays they learn in `learned`.
    """

    learned: ClassVar[tuple[str, ...]] = ()
    kinds: ClassVar[dict[str, type[Estimator]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        Estimator.kinds[cls.__name__] = cls

    def check_fitted(self) -> None:
        """Raise NotFittedError unless `fit` has run."""
        missing = [n for n in self.learned if not hasattr(self, n)]
        if missing:
            raise NotFittedError(
                f"{type(self).__name__} has not been fitted", hint="call fit(sequences) first"
            )

    def save(self, folder: Path) -> None:
        """Write model.json and learned.npz into `folder`."""
        self.check_fitted()
        vocabulary = getattr(self, "vocabulary_", None)
        names = list(vocabulary.names) if vocabulary is not None else None
        facts = {
            "format": FORMAT,
            "class": type(self).__name__,
            "settings": asdict(self),
            "vocabulary": names,
        }
        write_json(folder / "model.json", facts)
        with whole_file(folder / "learned.npz") as draft, draft.open("wb") as out:
            np.savez(out, allow_pickle=False, **{n: np.asarray(getattr(self, n)) for n in self.learned})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a saved estimator; the class is named in model.json and must be `cls` or below it."""
        facts = read_json(folder / "model.json")
        saved = facts.get("format", 1)
        if saved != FORMAT:
            raise ModelError(
                f"{folder} was saved in format {saved}, this behavio reads format {FORMAT}",
                hint="run the job again: it learns the model anew; or use the behavio that saved it",
            )
        kind = cls.kinds.get(facts["class"])
        if kind is None or not issubclass(kind, cls):
            raise ModelError(f"{folder} holds a {facts['class']}, not a {cls.__name__}")
        known = {f.name for f in fields(kind)}
        model = kind(**{k: v for k, v in facts["settings"].items() if k in known})
        if facts["vocabulary"] is not None:
            model.vocabulary_ = Vocabulary(tuple(facts["vocabulary"]))  # type: ignore[attr-defined]
        with np.load(folder / "learned.npz", allow_pickle=False) as arrays:
            for name in kind.learned:
                setattr(model, name, arrays[name])
        return model
