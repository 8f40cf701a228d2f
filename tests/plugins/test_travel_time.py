"""The worked example in plugins/examples/travel_time: its own tests pass, and settings find it as a module."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from springtide.plugins.loading import Plugins, load_plugins
from springtide.settings.model import PluginSettings

FOLDER = Path(__file__).parents[2] / "plugins" / "examples" / "travel_time"


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Plugins:
    monkeypatch.syspath_prepend(FOLDER / "src")
    return load_plugins(PluginSettings(modules=("springtide_travel_time",)))


@pytest.mark.long
def test_its_own_tests_pass():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_is_found_as_a_module(plugins):
    part = plugins.part("task", "travel_time")
    assert part.origin == "springtide_travel_time"
    assert [option.name for option in part.options] == ["segment_weight", "huber_delta"]


def test_its_command_prints_errors_that_fall(plugins, monkeypatch, capsys):
    from springtide_travel_time import __main__

    monkeypatch.setattr(__main__, "load_plugins", lambda: plugins)
    monkeypatch.setattr(sys, "argv", ["springtide_travel_time", "--size", "6", "--steps", "60", "--encoder", "gcn"])
    __main__.main()
    printed = capsys.readouterr().out
    shares = [float(share) for share in re.findall(r"([0-9.]+)%", printed)]
    by_rule, _, linked = shares[0:2], shares[2:4], shares[4:6]
    assert linked[0] < by_rule[0], printed
    assert linked[1] < by_rule[1], printed
