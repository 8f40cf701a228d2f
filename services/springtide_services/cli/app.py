"""The command line: all commands, collected. Each one imports what is slow to import only when it runs."""

import errno
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

import typer

from springtide.errors import CheckpointLockedError, PluginError, SettingsError, SpringtideError
from springtide.extras import missing_words
from springtide_services.cli import (
    check,
    checkpoints,
    config,
    dead_letters,
    experiments,
    models,
    plugins,
    rules,
    scenarios,
    state,
    steering,
    tokens,
)
from springtide_services.cli.console import console
from springtide_services.cli.demo import demo
from springtide_services.cli.doctor import doctor
from springtide_services.cli.evaluate import evaluate
from springtide_services.cli.explain import explain
from springtide_services.cli.forget import forget
from springtide_services.cli.inspect import inspect, search
from springtide_services.cli.lists import new_items, next_items, rank, similar, similar_users, trending
from springtide_services.cli.map import map_
from springtide_services.cli.protos import protos
from springtide_services.cli.prove import prove
from springtide_services.cli.publish import publish
from springtide_services.cli.rebuild import rebuild
from springtide_services.cli.recommend import recommend
from springtide_services.cli.season import season
from springtide_services.cli.serve import serve
from springtide_services.cli.status import status
from springtide_services.cli.train import train
from springtide_services.cli.tune import tune
from springtide_services.cli.up import broker, up
from springtide_services.exit_codes import EXIT_FAILED, EXIT_REFUSED
from springtide_services.termination import UNTIL_STDIN_CLOSES

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_REFUSALS = (SettingsError, PluginError, CheckpointLockedError, ModuleNotFoundError)  # Starting again would not help.

app = typer.Typer(
    help="Springtide: the recommender that learns from the stream.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_COMMANDS: tuple[Callable[..., None], ...] = (
    *(up, broker, serve, console, train, publish, rebuild, forget, recommend, explain, status, doctor),
    *(search, inspect, similar, similar_users, trending, new_items, rank),
    *(season, evaluate, tune, prove, demo, protos),
)
for command in _COMMANDS:
    app.command()(command)
app.command("next")(next_items)
app.command(name="map")(map_)
app.add_typer(models.app, name="models")
app.add_typer(checkpoints.app, name="checkpoints")
app.add_typer(state.app, name="state")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(steering.app, name="steering")
app.add_typer(rules.app, name="rules")
app.add_typer(scenarios.app, name="scenarios")
app.add_typer(plugins.app, name="plugins")
app.add_typer(experiments.app, name="experiments")
app.add_typer(tokens.app, name="tokens")
app.add_typer(config.app, name="config")
app.add_typer(check.app, name="check")


def main() -> None:
    """Run the command line; a SpringtideError, or a package that is not installed, is one line without a traceback."""
    try:
        app(standalone_mode=True)
    except (SpringtideError, ModuleNotFoundError) as error:
        words = str(error) if isinstance(error, SpringtideError) else missing_words(error)
        if words is None:
            raise
        _end_with(words, EXIT_REFUSED if isinstance(error, _REFUSALS) else EXIT_FAILED)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            _end_with_traceback()
        where = f" (while writing {error.filename})" if error.filename else ""
        _end_with(f"{error.strerror}{where}: make room and start again; what was complete is kept", EXIT_FAILED)
    except Exception:  # A fault of ours: with its traceback, but a library may have put a password into its message.
        _end_with_traceback()


def _end_with(words: str, exit_code: int) -> NoReturn:
    # Under `springtide up`, server and trainer write to one terminal.
    name = f"springtide {sys.argv[1]}" if UNTIL_STDIN_CLOSES in sys.argv else "springtide"
    typer.echo(f"{name}: {_without_secrets(words)}", err=True)
    sys.exit(exit_code)


def _end_with_traceback() -> NoReturn:
    typer.echo(_without_secrets(traceback.format_exc()), err=True, nl=False)
    sys.exit(EXIT_FAILED)


def _without_secrets(text: str) -> str:
    from springtide.settings.secrets import hidden  # It imports what validates settings.

    return hidden(text)
