"""The multichannel cycle plan as the CRM holds it: calls planned for each HCP, cycle by cycle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.simulate.crm import DAY
from behavio.simulate.extracts import Tally, dates, system_columns, write_table
from behavio.simulate.history import History
from behavio.simulate.ids import crm_ids
from behavio.simulate.world import CYCLE_DAYS

LEAD = 20
"""Days before its start that a cycle is planned."""


def write_plan(history: History, folder: Path, tally: Tally) -> None:
    """MC_Cycle*_vod__c.csv: a cycle of 91 days after the other, one plan and one call channel for each.

    The goal is the number of calls, whatever their channel, that reps aim at in the simulation, rounded.
    """
    settings, people = history.settings, history.people
    n_cycles = -(-settings.n_days // CYCLE_DAYS)
    n_people = len(people.calls)
    cycle = np.arange(n_cycles)
    start = settings.start_s + cycle * CYCLE_DAYS * DAY
    over = start + CYCLE_DAYS * DAY <= settings.start_s + settings.n_days * DAY
    of_cycle, person = np.repeat(cycle, n_people), np.tile(np.arange(n_people), n_cycles)
    number = np.arange(n_cycles * n_people)
    tables: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
        "MC_Cycle_vod__c": (
            cycle,
            {
                "Name": [f"Cycle {k + 1}" for k in cycle],
                "Start_Date_vod__c": dates(start),
                "End_Date_vod__c": dates(start + (CYCLE_DAYS - 1) * DAY),
                "Status_vod__c": np.where(over, "Completed_vod", "In_Progress_vod"),
            },
        ),
        "MC_Cycle_Channel_vod__c": (
            cycle,
            {
                "Cycle_vod__c": crm_ids("MC_Cycle_vod__c", cycle),
                "Channel_Object_vod__c": ["Call2_vod__c"] * n_cycles,
                "Channel_Label_vod__c": [""] * n_cycles,
                "Channel_Weight_vod__c": ["1"] * n_cycles,
            },
        ),
        "MC_Cycle_Plan_vod__c": (cycle, {"Cycle_vod__c": crm_ids("MC_Cycle_vod__c", cycle)}),
        "MC_Cycle_Plan_Target_vod__c": (
            of_cycle,
            {
                "Cycle_Plan_vod__c": crm_ids("MC_Cycle_Plan_vod__c", of_cycle),
                "Target_vod__c": crm_ids("Account", person),
            },
        ),
        "MC_Cycle_Plan_Channel_vod__c": (
            of_cycle,
            {
                "Cycle_Plan_Target_vod__c": crm_ids("MC_Cycle_Plan_Target_vod__c", number),
                "Cycle_Channel_vod__c": crm_ids("MC_Cycle_Channel_vod__c", of_cycle),
                "Channel_Activity_Goal_vod__c": np.rint(people.calls[person]).astype(np.int64),
            },
        ),
    }
    for name, (belongs, columns) in tables.items():
        ids = crm_ids(name, np.arange(len(belongs)))
        planned = start[belongs] - LEAD * DAY
        table = pl.DataFrame({**system_columns(ids, planned, planned), **columns})
        write_table(folder / f"{name}.csv", [table])
        tally.wrote(f"{name}.csv", table.height, {})
