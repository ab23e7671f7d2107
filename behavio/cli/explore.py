"""The command that shows a run live, on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from behavio.cli import show


@click.command("explore")
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(0, 65535), default=8300, show_default=True, help="0: a free one.")
@click.option("--open", "browse", is_flag=True, help="Open it in the browser.")
@click.option("--lang", help="en, de, or a catalogue file of your own.")
def explore(folder: Path, port: int, browse: bool, lang: str | None) -> None:
    """Look at a finished run in the browser, filtered by period, brand, specialty and group.

    It listens on 127.0.0.1 only, until Ctrl-C. Journeys are counted again from the encoded log for each look;
    nothing of fewer than ten people is shown, and no ids.

    \b
    Example:
      behavio explore runs/demo
      behavio explore runs/demo --port 0 --open
    """
    from behavio import api

    talk = show.console()
    with talk.status("reading the run"):
        server = api.explore(folder, port=port, **show.given({"lang": lang}))
    where = f"http://127.0.0.1:{server.server_address[1]}/"
    click.echo(where)
    talk.print("Ctrl-C ends it", style="dim")
    if browse:
        click.launch(where)
    try:
        server.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt:
        talk.print("ended", style="dim")
    finally:
        server.server_close()
