"""The command line of `prove`: what it refuses."""

import pytest
from typer.testing import CliRunner

from springtide_services.cli.app import app


@pytest.mark.parametrize("arguments", [["--month", "12"], ["--month", "0"], ["--events", "-1"]])
def test_option_out_of_range_is_refused_before_anything_is_measured(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, ["prove", "--events", "0", *arguments])

    assert done.exit_code == 2
    assert f"Invalid value for '{arguments[0]}'" in done.output
