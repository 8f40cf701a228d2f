"""The simulations of `prove` print their measurements."""

import pytest

from springtide.plugins.loading import load_plugins
from springtide.testing import quick_settings
from springtide_services.evaluation.prove_simulation import show_growth, show_recovery


def test_recovered_profiles_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    show_recovery(20_000, quick_settings(), load_plugins())
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line]
    profiles = {cells[0]: cells for cells in lines if cells[0] in ("year", "weekday", "hour")}
    assert set(profiles) == {"year", "weekday", "hour"}
    for _, _, many, num_few, few in profiles.values():
        assert float(many) > 0.8
        assert int(num_few) > 100
        assert float(few) > 0.8


def test_profiles_beside_growth_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    show_growth(8_000, quick_settings(), load_plugins())
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    found = {(cells[0], cells[1]): cells[2:] for cells in lines if cells and cells[0] in ("no", "yes")}
    assert list(found) == [(season, growth) for season in ("no", "yes") for growth in ("0%", "40%", "80%")]
    assert all(float(cells[-1]) > 0.5 for (season, _), cells in found.items() if season == "yes")
