"""The command line: parse, call the library, print.

Data goes to stdout (a table, or --json / --csv), talk and progress to stderr. Nothing heavy is imported
until a command runs.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import signal
import sys
from typing import Any

import click

from behavio import __version__
from behavio.errors import BehavioError

COMMANDS = {
    "demo": "work",
    "run": "work",
    "simulate": "work",
    "report": "work",
    "card": "card",
    "explore": "explore",
    "deliver": "deliver",
    "rollback": "deliver",
    "emulate": "emulate",
    "pull": "fetch",
    "erase": "privacy",
    "encode": "encode",
    "check": "ask",
    "graph": "journey",
    "variants": "journey",
    "steps": "journey",
    "funnel": "journey",
    "retention": "journey",
    "lifecycle": "journey",
    "waits": "journey",
    "rework": "journey",
    "compare": "differ",
    "drift": "differ",
    "conform": "plans",
    "rules": "plans",
    "patterns": "patterns",
    "match": "patterns",
    "segments": "ask",
    "stages": "ladder",
    "pressure": "ladder",
    "perceptions": "research",
    "treatment": "patients",
    "predict": "ask",
    "evaluate": "ask",
    "neighbours": "alike",
    "view": "ask",
    "suggestions": "suggested",
    "audience": "audience",
    "accounts": "accounts",
    "account": "accounts",
    "value": "value",
    "goals": "goals",
    "holdout": "lots",
    "readout": "lots",
}
SHORT = {
    "demo": "Simulate a year of HCPs, run the whole job, say where the report is.",
    "run": "Run a job file into a run folder.",
    "simulate": "Write raw extracts as a CRM would export them, with the truth beside.",
    "pull": "Fetch what mappings need from a live CRM into a folder.",
    "encode": "Read a log once into a folder that answers every question at memory speed.",
    "check": "Data readiness: what is there, missing, rejected, and why.",
    "graph": "What follows what, how often and after how long.",
    "variants": "Distinct journeys, most frequent first.",
    "steps": "What the first events of cases are.",
    "funnel": "How many cases get through steps in order, in which time.",
    "retention": "Who is still active how many months later.",
    "lifecycle": "Who is new, active, returned, dormant or lost, month by month.",
    "waits": "Where the time goes: how long each activity is waited for.",
    "rework": "What is done again, and how often.",
    "compare": "Two groups or periods side by side: what differs, how surely.",
    "drift": "When the journey changed, which steps, since when.",
    "conform": "What was planned against what happened, with the evidence.",
    "rules": "Which rules journeys keep: what follows, precedes, excludes what.",
    "patterns": "What stands out, what comes before an outcome.",
    "match": "Who matches a pattern, who nearly does and what they lack.",
    "segments": "Groups of cases that interact alike.",
    "stages": "Where each case stands on the adoption ladder, and what moved it.",
    "pressure": "How answers depend on recent contact; who gets too much or too little.",
    "perceptions": "What a sample said in market research, projected where behaviour tells it.",
    "treatment": "Patients: lines of therapy, time on treatment, how HCPs treat.",
    "predict": "Next steps with probability and time.",
    "evaluate": "Every model against its baselines on later events.",
    "neighbours": "What those did next who were lately where one case is now.",
    "view": "The whole story of one case.",
    "suggestions": "What to do next for whom and why, what is held back, the plan, the policy.",
    "audience": "Who fits a question: counted first, exported with consent applied.",
    "accounts": "Accounts: members, roles, who is covered, which roles are missing.",
    "account": "One account: members, roles, what is missing, its journey.",
    "value": "What cases are worth beside how they behave, costs, a targeting policy.",
    "goals": "What was wanted, and what came of it: met, not met or not measurable.",
    "holdout": "Leave a group alone by lot, so that effects can be measured.",
    "readout": "What contacts caused: those left alone against the others.",
    "report": "Write a run's report again: page, slides, summary or tables.",
    "card": "The model card of a run: purpose, data, how good it is, where it ends.",
    "explore": "Look at a run in the browser, filtered, on this machine only.",
    "deliver": "Bring labels and suggestions into the CRM, or write files for it.",
    "rollback": "Take a delivery back, by its receipt.",
    "emulate": "A Salesforce org or a vault on this machine, to rehearse a load.",
    "erase": "Remove people from a finished run, for good.",
}


class Commands(click.Group):
    """Commands by name; each is imported only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order people meet them."""
        return list(SHORT)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"behavio.cli.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(SHORT.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """A wrong name gets the nearest one."""
        from difflib import get_close_matches

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = get_close_matches(args[0], COMMANDS, 1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"there is no command {args[0]!r}{meant}", ctx)
        return super().resolve_command(ctx, args)


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="behavio")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Behavioral sequence mining on the interaction logs you already have.

    LOG is any CSV, TSV, JSON lines, Parquet, Arrow or XES file; RUN the folder a run left.

    \b
    Start here:
      behavio demo
      behavio check visits.csv
      behavio graph visits.csv --case-id customer --timestamp date
      behavio run pipelines/open_payments.toml
    """


def main(args: list[str] | None = None) -> None:
    """Run the command line; every error ends in one message and the right exit code."""
    gc.set_threshold(100_000)  # imports make many objects and no garbage
    atexit.register(gc.freeze)  # what is left at the end goes with the process
    given = sys.argv[1:] if args is None else args
    debug = "--debug" in given
    signal.signal(signal.SIGTERM, _terminated)
    given = [a for a in given if a != "--debug"]  # works anywhere on the line
    try:
        sys.exit(cli.main(given, prog_name="behavio", standalone_mode=False) or 0)
    except click.exceptions.NoArgsIsHelpError as bare:
        click.echo(bare.format_message(), err=True)
        sys.exit(2)
    except click.exceptions.Exit as ended:
        sys.exit(ended.exit_code)
    except click.ClickException as wrong:
        context = getattr(wrong, "ctx", None)
        _say(f"error: {wrong.format_message()}", f"{context.command_path} --help" if context else "")
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort) as stopped:
        again = command_of(given) in ("run", "demo")
        _say("stopped", "run the same command again: whole stages are kept" if again else "")
        by_system = isinstance(stopped.__cause__ or stopped, Terminated)  # click raises Abort from it
        sys.exit(128 + (signal.SIGTERM if by_system else signal.SIGINT))
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except BehavioError as problem:
        if debug:
            raise
        _say(f"error: {problem}", problem.hint)
        sys.exit(problem.exit_code)
    except OSError as problem:
        if debug:
            raise
        _say(f"error: {problem.strerror or problem}", f"it happened at {problem.filename or 'the output'}")
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - nothing left to flush into a full disk
        sys.exit(1)
    except Exception as problem:
        if debug:
            raise
        what = "out of memory" if isinstance(problem, MemoryError) else f"{type(problem).__name__}: {problem}"
        _say(f"error: {what}", "this should not happen: run again with --debug and report what it shows")
        sys.exit(1)


class Terminated(KeyboardInterrupt):
    """SIGTERM ends a command as Ctrl-C does: drafts are removed, the exit code is 143."""


def _terminated(number: int, frame: object) -> None:
    raise Terminated


def command_of(given: list[str]) -> str:
    """The command among the words of a command line, "" where there is none."""
    return next((word for word in given if word in COMMANDS), "")


def _say(message: str, hint: str) -> None:
    click.echo(message, err=True)
    if hint:
        click.echo(f"\nhint: {hint}", err=True)
