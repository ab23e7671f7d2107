"""What the company has: users, products, key messages, email templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.simulate.clean import MARKETING, N_REPS
from behavio.simulate.crm import DAY, territory_names
from behavio.simulate.extracts import Tally, system_columns, write_table
from behavio.simulate.history import History
from behavio.simulate.ids import crm_ids
from behavio.simulate.vocabulary import BRANDS, CATEGORIES, MESSAGES

FLAT = [(brand, *message) for brand, group in enumerate(MESSAGES) for message in group]
"""Brand, name and category of every key message."""


def catalogue_table(table: str, history: History, n: int, columns: dict[str, Any]) -> pl.DataFrame:
    """A table of `n` old records."""
    long_ago = np.full(n, history.settings.start_s - 900 * DAY)
    return pl.DataFrame({**system_columns(crm_ids(table, np.arange(n)), long_ago, long_ago), **columns})


def users() -> dict[str, Any]:
    """One rep per territory, and the sender of campaign waves."""
    return {
        "Name": [f"Rep {t}" for t in territory_names()] + ["Marketing automation"],
        "Team__c": np.where(np.arange(N_REPS + 1) == MARKETING, "marketing", "sales"),
        "Territory_vod__c": [*territory_names(), ""],
        "IsActive": ["true"] * (N_REPS + 1),
    }


def products() -> dict[str, Any]:
    """Two invented brands."""
    return {
        "Name": BRANDS,
        "Product_Type_vod__c": ["Detail"] * len(BRANDS),
        "External_ID_vod__c": [b.lower() for b in BRANDS],
        "Company_Product_vod__c": ["true"] * len(BRANDS),
        "Therapeutic_Area_vod__c": ["Cardiology", "Nephrology"],
    }


def key_messages() -> dict[str, Any]:
    """Everything a rep or an email can say."""
    return {
        "Name": [name for _, name, _ in FLAT],
        "Product_vod__c": crm_ids("Product_vod__c", np.array([brand for brand, _, _ in FLAT])),
        "Category_vod__c": [CATEGORIES[category] for _, _, category in FLAT],
        "Status_vod__c": ["Approved_vod"] * len(FLAT),
        "Active_vod__c": ["true"] * len(FLAT),
        "Media_File_Name_vod__c": [f"slide_{k:03d}.zip" for k in range(len(FLAT))],
    }


def templates() -> dict[str, Any]:
    """One email template per key message."""
    return {
        "Name": [f"Email on {name}" for _, name, _ in FLAT],
        "Product_vod__c": crm_ids("Product_vod__c", np.array([brand for brand, _, _ in FLAT])),
        "Status_vod__c": ["Approved_vod"] * len(FLAT),
    }


def write_catalogue(history: History, folder: Path, tally: Tally) -> None:
    """User.csv, Product_vod__c.csv, Key_Message_vod__c.csv, Approved_Document_vod__c.csv: no dirt."""
    tables = {
        "User": (N_REPS + 1, users()),
        "Product_vod__c": (len(BRANDS), products()),
        "Key_Message_vod__c": (len(FLAT), key_messages()),
        "Approved_Document_vod__c": (len(FLAT), templates()),
    }
    for name, (n, columns) in tables.items():
        rows = write_table(folder / f"{name}.csv", [catalogue_table(name, history, n, columns)])
        tally.wrote(f"{name}.csv", rows, {})
