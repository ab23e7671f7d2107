"""Write docs/commands.md, the reference of the command line, from its own help texts."""

from __future__ import annotations

from pathlib import Path

import click

from behavio.cli import SHORT, cli

TARGET = Path(__file__).with_name("commands.md")


def reference() -> str:
    """The help of every command as one Markdown page."""
    parts = ["# Commands\n\nWritten by `make docs` from the commands' own help.\n"]
    with click.Context(cli, info_name="behavio", **cli.context_settings) as parent:
        for name in SHORT:
            command = cli.get_command(parent, name)
            assert command is not None
            with click.Context(command, info_name=name, parent=parent, terminal_width=96) as context:
                parts.append(f"## behavio {name}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
