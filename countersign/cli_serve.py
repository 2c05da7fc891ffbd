"""Commands of the server: serve, and the tokens by which it knows who asks.

Belongs here: arguments, what is said. Does not belong here: anything that a test could want without a shell. What the
server needs (``countersign[serve]``) is imported inside the commands.
"""

from __future__ import annotations

from typing import Final

import click

from countersign.cli_terminal import Terminal, as_text


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8321, show_default=True, type=click.IntRange(0, 65535), help="0: any that is free.")
@click.option(
    "--requests",
    default=100,
    show_default=True,
    type=click.IntRange(min=1),
    help="In work at once; more are told to ask again (503).",
)
@click.option("--connections", type=click.IntRange(min=1), help="Open at once. Default: 1000, where files allow it.")
@click.option(
    "--header-seconds", default=5.0, show_default=True, type=click.FloatRange(min=0.1), help="To send a request's head."
)
@click.option(
    "--body-seconds", default=10.0, show_default=True, type=click.FloatRange(min=0.1), help="To send its body."
)
@click.option(
    "--answer-seconds",
    default=60.0,
    show_default=True,
    type=click.FloatRange(min=0.1),
    help="Without any progress in taking the answer.",
)
@click.option(
    "--stop-seconds",
    default=15.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="To finish, when told to stop.",
)
@click.pass_obj
def serve(
    terminal: Terminal,
    host: str,
    port: int,
    requests: int,
    connections: int | None,
    header_seconds: float,
    body_seconds: float,
    answer_seconds: float,
    stop_seconds: float,
) -> None:
    """Serve the model in service over HTTP: POST /predict, the stored scores and reports, metrics; see /docs.

    A model that is deployed meanwhile is verified and served without a restart. Tokens: countersign token add, or
    COUNTERSIGN_TOKENS. Without one, this machine alone is served. Needs: pip install 'countersign[serve]'.

    Example: countersign serve --port 8321
    """
    try:
        from countersign.serving.server import Settings
        from countersign.serving.server import serve as run
    except ModuleNotFoundError as error:
        raise click.ClickException(f"{error.name} is not installed: pip install 'countersign[serve]'") from error

    settings = Settings(host, port, requests, connections, header_seconds, body_seconds, answer_seconds, stop_seconds)
    run(
        terminal.open_project(),
        settings,
        terminal.environment.get("COUNTERSIGN_TOKENS"),
        terminal.clock,
        terminal.stopwatch,
        lambda sentence: click.echo(f"{terminal.clock():%Y-%m-%dT%H:%M:%SZ} serve  {sentence}", err=True),
    )


@click.group()
def token() -> None:
    """Tokens by which the server knows who asks; tokens.json keeps their salted hashes alone."""


@token.command("add")
@click.argument("name")
@click.pass_obj
def add_one(terminal: Terminal, name: str) -> None:
    """Make a token called NAME and print it, once: it is kept nowhere. A server that runs takes it within seconds.

    Example: countersign token add trading-desk
    """
    from countersign.serving.tokens import add_token, tokens_file

    click.echo(add_token(tokens_file(terminal.home), name, terminal.clock().date()))


@token.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_all(terminal: Terminal, as_json: bool) -> None:
    """Show the name of each token, and when it was made.

    Example: countersign token list
    """
    from countersign.serving.tokens import load_tokens, tokens_file

    found = load_tokens(tokens_file(terminal.home))
    if as_json:
        click.echo(as_text([{"name": one.name, "created": one.created} for one in found]))
        return
    for one in found:
        click.echo(f"{one.created}  {one.name}")
    if not found:
        click.echo("There is no token.")


@token.command("revoke")
@click.argument("name")
@click.pass_obj
def revoke_one(terminal: Terminal, name: str) -> None:
    """Take the token called NAME away. A server that runs refuses it within seconds.

    Example: countersign token revoke trading-desk
    """
    from countersign.serving.tokens import revoke_token, tokens_file

    revoke_token(tokens_file(terminal.home), name)
    click.echo(f"Revoked: {name}.")


COMMANDS: Final[tuple[click.Command, ...]] = (serve, token)
