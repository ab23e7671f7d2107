"""A process tree and what it was discovered from."""

from __future__ import annotations

from dataclasses import dataclass, field

from behavio.process.variants import WeightedVariants


@dataclass(frozen=True, slots=True)
class Tree:
    """A process tree: an activity, a silent step (both empty), or children under → × ∧ ⟲."""

    operator: str = ""  # sequence | choice | parallel | loop
    activity: str = ""
    children: tuple[Tree, ...] = ()

    @property
    def silent(self) -> bool:
        """True for the step nobody sees."""
        return not self.operator and not self.activity

    def __str__(self) -> str:
        if not self.operator:
            return self.activity or "τ"
        return f"{self.operator}({', '.join(str(c) for c in self.children)})"


@dataclass(frozen=True, slots=True)
class ProcessModel:
    """A discovered tree and what it was discovered from."""

    tree: Tree
    noise: float
    n_cases: int  # cases of the log
    cases_used: int  # cases behind the variants the miner saw
    variants_used: int
    activities_used: int
    n_activities: int
    variants: WeightedVariants = field(compare=False)  # what the miner saw

    def sentence(self) -> str:
        """What the model shows and what it leaves out."""
        share = self.cases_used / max(self.n_cases, 1)
        many = "" if self.variants_used == 1 else "s"
        said = f"{self.variants_used:,} variant{many} of {self.cases_used:,} of {self.n_cases:,} cases"
        said += f" ({share:.0%})"
        if self.activities_used < self.n_activities:
            said += f", {self.activities_used} of {self.n_activities:,} activities"
        return f"inductive miner, noise threshold {self.noise:g}, from {said}"
