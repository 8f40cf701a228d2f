"""The page of all metrics is the one that the catalogue makes."""

from pathlib import Path

import pytest

from springtide_services.metrics import catalogue
from springtide_services.metrics.catalogue import MetricSpec
from springtide_services.metrics.reference import page

PAGE = Path(__file__).parents[3] / "services/springtide_services/metrics/README.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "run `make docs`"


def test_the_page_has_every_metric_once() -> None:
    for spec in (*catalogue.SERVER, *catalogue.TRAINER, *catalogue.PROCESS):
        assert page().count(f"| `{spec.name}` |") == 1, spec.name


def test_names_say_what_metrics_are() -> None:
    for spec in (*catalogue.SERVER, *catalogue.TRAINER):
        assert not spec.name.endswith(("_ms", "_mb", "_percent", "_minutes", "_hours")), "base units alone"
        assert not {"user", "item", "id", "token"} & set(spec.labels), "their values have no bound"
    with pytest.raises(ValueError, match="_total"):
        MetricSpec("springtide_things", "counter", "Things.")
    with pytest.raises(ValueError, match="_total"):
        MetricSpec("springtide_things_total", "gauge", "Things.")
    with pytest.raises(ValueError, match="_info"):
        MetricSpec("springtide_things", "info", "Things.")
