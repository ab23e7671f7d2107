"""Process models of the whole log, in the notations of business process management.

pm4py discovers them from weighted variants, so the cost does not grow with the number of events. This room
is the only one that imports pm4py and r4pm, and only when a model is asked for; pm4py is AGPL-3.0-or-later,
see the README.
"""

from behavio.process.alignment import Alignments, align
from behavio.process.heuristics import HeuristicsNet, heuristics
from behavio.process.miner import discover, process_tree
from behavio.process.net import Net, read_net
from behavio.process.notation import write_bpmn, write_pnml
from behavio.process.tree import ProcessModel, Tree
from behavio.process.variants import WeightedVariants

__all__ = [
    "Alignments",
    "HeuristicsNet",
    "Net",
    "ProcessModel",
    "Tree",
    "WeightedVariants",
    "align",
    "discover",
    "heuristics",
    "process_tree",
    "read_net",
    "write_bpmn",
    "write_pnml",
]
