"""HCPs with known truth: raw extracts as the CRM, the mailing tool and the web analytics export them.

settings       what can be asked for
vocabulary     the words of the world
archetypes     how HCPs react: rules, hours, reactions
world          the calendar, and the HCPs drawn
hazards        the process: competing hazards, piecewise constant, exact next-event probabilities
state, loop    what an event changes; drawing one event after the other
effects        the true effect of every action
history        all HCPs in chunks on all cores
clean, truth   the events and the hidden facts as tables
crm, mail, web the extracts with their dirt
"""

from __future__ import annotations

from behavio.simulate.run import simulate, simulate_log
from behavio.simulate.settings import SimulateSettings

__all__ = ["SimulateSettings", "simulate", "simulate_log"]
