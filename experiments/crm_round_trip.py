"""A whole demo run into the emulated Salesforce and Vault: reps act, a second run reads it and respects it.

Usage: python experiments/crm_round_trip.py DEMO [SYSTEM…] (a folder that `behavio demo --out` left).
The emulators keep the demo's calendar: the loader comes on the evening of its newest event, reps act in the
two weeks after it (what `crm_reps.py` makes them do is known, so every count can be checked), then everything
is pulled and `behavio run` makes the next run from what was pulled, which is delivered again.
Writes experiments/results/crm_round_trip.json.
"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "experiments")]

from crm_reps import REASONS, Act, Calendar, Org, Reps  # noqa: E402

from behavio.sources.pull import pull  # noqa: E402
from behavio.sources.salesforce import Org as SalesforceOrg  # noqa: E402
from behavio.sources.salesforce import Salesforce  # noqa: E402
from behavio.sources.vault import Vault, VaultLogin  # noqa: E402
from behavio.targets.delivery import Delivery, deliver_to, home_of  # noqa: E402
from behavio.targets.emulator import (  # noqa: E402
    SalesforceEmulator,
    VaultEmulator,
    load_extracts,
    new_org,
    new_vault,
    serving,
)
from behavio.targets.mapping import load_mapping  # noqa: E402
from behavio.targets.receipts import CrmReceipt  # noqa: E402
from behavio.targets.salesforce import SalesforceCrm  # noqa: E402
from behavio.targets.settings import DeliverSettings  # noqa: E402
from behavio.targets.vault import VaultCrm  # noqa: E402

CRM = ("calls", "key_messages", "emails", "email_activity")
KINDS = {
    "calls": "veeva.call",
    "key_messages": "veeva.key_message",
    "emails": "veeva.sent_email",
    "email_activity": "veeva.email_activity",
    "feedback": "veeva.suggestion_feedback",
}
VAULT_KINDS = ("vault.call", "vault.sent_email", "vault.suggestion_feedback")
AFTER = dt.timedelta(days=16)
"""The next run looks from here: the first suggestions are over, dismissals of 30 days are not."""


def session(system: str, url: str) -> Any:
    """A session that reads."""
    if system == "vault":
        return Vault(VaultLogin(url, "loader@example.com", "emulator"))
    return Salesforce(SalesforceOrg(url, "behavio", "emulator"))


def deliver(system: str, url: str, run: Path, home: Path) -> CrmReceipt:
    """One delivery."""
    crm: Any = (VaultCrm if system == "vault" else SalesforceCrm)(session(system, url))
    settings = DeliverSettings(target=system, dry_run=False)
    mapping = load_mapping("vault" if system == "vault" else "veeva")
    try:
        return deliver_to(Delivery(run, home_of(home, system), crm, mapping, settings))
    finally:
        crm.close()


def pulled(system: str, url: str, folder: Path) -> dict[str, dict[str, Any]]:
    """What a pull brought, by object: rows and since when."""
    kinds = list(VAULT_KINDS if system == "vault" else KINDS.values())
    reader = session(system, url)
    found = pull(kinds, folder, reader)
    reader.close()
    return {one.object: {"rows": one.rows, "since": one.since} for one in found}


def job(system: str, demo: Path, extracts: Path, as_of: dt.datetime) -> str:
    """The job of the next run: what was pulled, the labels' frozen model, what became of suggestions.

    From Salesforce everything of the CRM is what was pulled; a vault holds only what is new, the years before
    stay in the extracts.
    """
    old = demo / "data" / "extracts"
    sources = {name: (KINDS[name], old if system == "vault" else extracts) for name in CRM}
    if system == "vault":
        sources |= {k.replace(".", "_"): (k, extracts) for k in VAULT_KINDS}
    else:
        sources["feedback"] = (KINDS["feedback"], extracts)
    sources |= {"portal": ("ga4", old / "ga4_events.jsonl"), "events": ("veeva.event_attendee", old)}
    lines = ["seed = 7"]
    for name, (kind, path) in sources.items():
        lines += [f"[source.{name}]", f'kind = "{kind}"', f'path = "{path}"']
    lines += ["[cases]", 'kind = "veeva.account"', f'path = "{old / "Account.csv"}"']
    lines += ["[consents]", 'kind = "veeva.consent"', f'path = "{old / "Multichannel_Consent_vod__c.csv"}"']
    lines += ["[journeys]", "[model]", 'kind = "counting"']
    lines += ["[segments]", f'previous = "{demo / "run"}"', "frozen = true", "[pressure]"]
    lines += ["[stages]", 'names = ["unaware", "aware", "interested", "trial", "adopter"]']
    lines += ["[suggest]", f'previous = "{demo / "run"}"', f'as_of = "{as_of.isoformat()}"']
    lines += ["[suggest.dismissal_reasons]", *(f'"{k}" = "{v}"' for k, v in REASONS.items())]
    return "\n".join(lines) + "\n"


def next_run(text: str, work: Path) -> tuple[Path, float]:
    """`behavio run` as typed; its folder and seconds."""
    path, out = work / "next.toml", work / "next"
    path.write_text(text)
    began = time.perf_counter()
    command = [sys.executable, "-m", "behavio", "run", str(path), "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return out, time.perf_counter() - began


# --- what is held against what reps did ------------------------------------------------------------------


def told(acts: list[Act], run: Path) -> dict[str, Any]:
    """What the next run says became of the suggestions, beside what reps did; they must be equal."""
    feedback = pl.read_parquet(run / "suggestions" / "feedback.parquet")
    states = dict(feedback.select("suggestion_id", "state").rows())
    expected = {a.suggestion_id: a.state for a in acts}
    wrong = {k: (v, states.get(k)) for k, v in expected.items() if states.get(k) != v}
    assert not wrong, list(wrong.items())[:5]
    meanings = dict(feedback.filter(state="dismissed").select("suggestion_id", "meaning").rows())
    assert all(meanings[a.suggestion_id] == a.meaning for a in acts if a.state == "dismissed")
    whole = pl.read_parquet(run / "suggestions" / "adherence.parquet").filter(pl.col("owner_id").is_null())
    return {
        "acts": dict(Counter(a.how for a in acts)),
        "states": dict(feedback["state"].value_counts(sort=True).rows()),
        "acts_with_another_state": len(wrong),
        "adherence": round(float(whole["adherence"][0]), 4),
    }


def counted(acts: list[Act], first: Path, second: Path) -> dict[str, Any]:
    """Events of the next run that the first did not have, by activity; each act is one, none is lost."""
    tables = [
        pl.scan_parquet(r / "log" / "events.parquet").group_by("activity").len() for r in (first, second)
    ]
    before, after = (dict(t.collect().rows()) for t in tables)
    more = {k: n - before.get(k, 0) for k, n in after.items() if n != before.get(k, 0)}
    made = Counter(a.event for a in acts if a.event) + Counter(a.feedback for a in acts if a.feedback)
    assert more == dict(made), (more, made)
    return dict(sorted(more.items()))


def respected(acts: list[Act], run: Path, now: dt.datetime) -> dict[str, Any]:
    """What the next run does about every act, by what the act meant."""
    made = pl.read_parquet(run / "suggestions" / "suggestions.parquet")
    held = pl.read_parquet(run / "suggestions" / "suppressed.parquet")
    rules = {(c, a): r for c, a, r in held.select("case_id", "action", "reason").rows()}
    actions = {(c, a) for c, a in made.select("case_id", "action").rows()}
    channels = {(c, m) for c, m in made.select("case_id", "channel").rows()}
    messages = {(c, m) for c, m in made.select("case_id", "message").rows()}
    found: dict[str, Any] = {}
    for how in sorted({a.how for a in acts}):
        own = [a for a in acts if a.how == how]
        found[how] = {
            "acts": len(own),
            "still_resting": sum(a.rests(now) for a in own),
            "resting_action_suggested_again": sum(
                a.rests(now) and (a.case_id, a.action) in actions for a in own
            ),
            "action_suggested_again": sum((a.case_id, a.action) in actions for a in own),
            "channel_suggested_again": sum((a.case_id, a.channel) in channels for a in own),
            "message_suggested_again": sum((a.case_id, a.message) in messages for a in own),
            "held_back_by": dict(Counter(rules.get((a.case_id, a.action), "-") for a in own).most_common()),
        }
    assert not any(one["resting_action_suggested_again"] for one in found.values()), found
    assert found["dismissed: no e-mail or call like this"]["channel_suggested_again"] == 0
    assert found["dismissed: message does not fit"]["message_suggested_again"] == 0
    return found


def delivered(org: Org, acts: list[Act], before: dict[str, Any], receipt: CrmReceipt) -> dict[str, Any]:
    """What the second delivery changed in the CRM."""
    after = org.suggestions()
    touched = [a for a in acts if a.feedback and after[a.suggestion_id] != before[a.suggestion_id]]
    assert receipt.status == "confirmed" and not touched, "a suggestion a rep acted on was touched"
    today = org.calendar.now.date().isoformat()
    live = [r for r in after.values() if org.open(r, today)]
    per_thing = Counter(org.thing(r) for r in live)
    dismissed = {org.thing(before[a.suggestion_id]) for a in acts if a.state == "dismissed"}
    resting = {org.thing(before[a.suggestion_id]) for a in acts if a.rests(org.calendar.now)}
    assert max(per_thing.values(), default=0) <= 1, "the same thing is open twice for one account"
    assert not resting & set(per_thing), "what was dismissed or done is open again"
    return {
        "objects": {k: dict(v) for k, v in receipt.objects.items()},
        "reasons": dict(receipt.reasons),
        "acted_rows_unchanged": sum(a.feedback != "" for a in acts) - len(touched),
        "open_suggestions": len(live),
        "open_twice_for_one_account": sum(n > 1 for n in per_thing.values()),
        "dismissed_things_open": len(dismissed & set(per_thing)),
    }


def round_trip(system: str, demo: Path, work: Path) -> dict[str, Any]:
    """Deliver, act, read back, run again, deliver again."""
    made = pl.read_parquet(demo / "run" / "suggestions" / "suggestions.parquet")
    newest = pl.scan_parquet(demo / "run" / "log" / "events.parquet").select(pl.col("timestamp").max())
    calendar = Calendar(newest.collect().item())
    emulator: Any
    if system == "vault":
        emulator = VaultEmulator(new_vault(clock=calendar))
    else:
        emulator = SalesforceEmulator(new_org(clock=calendar))
    load_extracts(emulator.store, demo / "data" / "extracts")
    org, extracts = Org(emulator.store, system, calendar), work / f"extracts-{system}"
    org.messages(demo / "data" / "extracts")
    with serving(emulator) as url:
        first = deliver(system, url, demo / "run", work / system)
        again = deliver(system, url, demo / "run", work / system)
        assert first.status == again.status == "confirmed" and again.sent == 0
        before_acts = pulled(system, url, extracts)
        start = calendar.now
        acts = Reps(org, seed=7).act(made)
        calendar.now = start + AFTER
        after_acts = pulled(system, url, extracts)
        before = org.suggestions()
        run, seconds = next_run(job(system, demo, extracts, calendar.now), work / system)
        second = deliver(system, url, run, work / system)
        result = {
            "first": {k: dict(v) for k, v in first.objects.items()},
            "first_confirmed": first.confirmed,
            "jobs": len(first.jobs),
            "again_sent": again.sent,
            "pulled_before": before_acts,
            "pulled_after": after_acts,
            "next_run_seconds": round(seconds),
            "feedback": told(acts, run),
            "events_more_than_before": counted(acts, demo / "run", run),
            "respected": respected(acts, run, calendar.now),
            "second": delivered(org, acts, before, second),
        }
    emulator.close()
    return result


def main() -> None:
    """Both systems, or those named."""
    demo = Path(sys.argv[1]).resolve()
    out = ROOT / "experiments" / "results" / "crm_round_trip.json"
    result = json.loads(out.read_text()) if sys.argv[2:] and out.is_file() else {}
    with tempfile.TemporaryDirectory() as work:
        for system in sys.argv[2:] or ("salesforce", "vault"):
            (Path(work) / system).mkdir()
            result[system] = round_trip(system, demo, Path(work))
            print(system, json.dumps(result[system], indent=2), flush=True)
            out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
