"""The README tells the truth: its code runs and its settings load; so do the guide's built-in parts."""

import math
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from springtide.client import Client as Recommender
from springtide.client import position_after
from springtide.clock import MS_PER_DAY
from springtide.plugins.contracts import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.load import load_settings
from springtide.settings.model import KafkaSettings, Settings
from springtide.testing import check_context_weight, check_loss, history_of, loss_inputs_of
from springtide.v1.recommender_pb2 import RecommendRequest
from springtide_services.addresses import free_port
from springtide_services.local.supervisor import Child, Supervisor
from springtide_services.serving.client import Client

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "plugins" / "README.md").read_text(encoding="utf-8")
PARTS = "The built-in parts"  # The guide's section.
TIMEOUT_S = 60.0


def section_of(section: str, document: str = README) -> str:
    text = re.search(rf"^## {section}$(.*?)(?=^## |\Z)", document, re.MULTILINE | re.DOTALL)
    assert text is not None, f"no section {section!r}"
    return text[1]


def blocks(language: str, section: str, document: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", section_of(section, document), re.MULTILINE | re.DOTALL)


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SPRINGTIDE_SETTINGS", "KAFKA_BOOTSTRAP_SERVERS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def running(fresh_kafka: Callable[..., KafkaSettings], tmp_path: Path) -> Iterator[tuple[KafkaSettings, str]]:
    """A server as `springtide serve` starts it, on topics of its own."""
    kafka = fresh_kafka()
    port = free_port()
    environment = {
        "SPRINGTIDE_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "SPRINGTIDE_KAFKA__TOPIC": kafka.topic,
        "SPRINGTIDE_KAFKA__DEAD_LETTER_TOPIC": kafka.dead_letter_topic,
        "SPRINGTIDE_CHECKPOINT__URL": str(tmp_path / "checkpoints"),
        "SPRINGTIDE_MODEL__URL": str(tmp_path / "models"),
        "SPRINGTIDE_SERVER__PORT": str(port),
    }
    with Supervisor(restarts=False) as supervisor, Client(f"127.0.0.1:{port}") as client:
        supervisor.add(Child("server", ["serve"], environment, tmp_path / "server.log"))
        deadline = time.monotonic() + TIMEOUT_S
        while not client.is_serving():
            supervisor.check()
            assert time.monotonic() < deadline, (tmp_path / "server.log").read_text()
            time.sleep(0.1)
        yield kafka, client.address


def test_producer_and_client_code_runs(running: tuple[KafkaSettings, str], capsys: pytest.CaptureFixture[str]) -> None:
    kafka, address = running
    (ask,) = blocks("python", "Ask for recommendations")
    (publish,) = blocks("python", "Publish events")
    namespace: dict[str, Any] = {}

    def execute(code: str) -> None:
        for written, here in [
            ("localhost:50051", address),
            ("localhost:9092", kafka.bootstrap_servers),
            ("springtide.events", kafka.topic),
        ]:
            code = code.replace(written, here)
        exec(compile(code, "README.md", "exec"), namespace)

    execute(publish.replace("ann", "bob").replace("umbrella", "tent"))
    acknowledged = namespace["acknowledged"]
    after = position_after((acknowledged.partition, acknowledged.offset))
    with Recommender(address) as client:  # Bob's tent may be in another partition than Ann's umbrella.
        assert not client.recommend(
            RecommendRequest(user="bob"), after=after, timeout_s=TIMEOUT_S
        ).is_behind_min_position
    execute(publish)
    execute(ask)

    assert capsys.readouterr().out.startswith("tent ")  # The umbrella is left out: Ann has it.


@pytest.mark.usefixtures("clean_environment")
def test_plugin_code_is_found_and_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = blocks("python", "Write a plugin")
    (toml,) = blocks("toml", "Write a plugin")
    (tmp_path / "my_parts.py").write_text(code)
    (tmp_path / "springtide.toml").write_text(toml)
    monkeypatch.syspath_prepend(tmp_path)

    settings = load_settings().settings
    try:
        loss = load_plugins(settings.plugins).make("loss", settings.model.loss)
    finally:
        module = sys.modules.pop("my_parts", None)

    assert module is not None
    check_loss(module.BayesianPersonalizedRanking)
    inputs = loss_inputs_of(positive=[0.5], negative=[[0.5, 0.9]], is_seen=[[False, True]])
    # Equal cosines cost log 2, the user's own item next to nothing; the mean is over both.
    torch.testing.assert_close(loss(inputs), torch.tensor(math.log(2) / 2), rtol=1e-5, atol=0.0)


@pytest.mark.usefixtures("clean_environment")
def test_context_weight_is_found_and_counts_the_same_weekday(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = blocks("python", PARTS, GUIDE)
    others = blocks("toml", PARTS, GUIDE)[-1]
    (tmp_path / "my_weights.py").write_text(code)
    (tmp_path / "springtide.toml").write_text(
        f'[plugins]\nmodules = ["my_weights"]\n[ranking.context_weights.same_weekday]\n{others}'
    )
    monkeypatch.syspath_prepend(tmp_path)

    settings = load_settings().settings
    try:
        plugins = load_plugins(settings.plugins)
    finally:
        module = sys.modules.pop("my_weights", None)
    weight = make_context_weights(settings.ranking, plugins)["same_weekday"]

    assert module is not None
    check_context_weight(module.SameWeekday)
    # Item 7 two weeks and one week ago, item 8 yesterday.
    history = history_of([(7, 6 * MS_PER_DAY), (7, 13 * MS_PER_DAY), (8, 19 * MS_PER_DAY)])
    lifts = weight.history_log_lifts(history, Moment(20 * MS_PER_DAY + 5))
    assert lifts is not None
    assert lifts.tolist() == [pytest.approx([math.log(3), 0.0])]


@pytest.mark.usefixtures("clean_environment")
def test_settings_of_the_readme_load(tmp_path: Path) -> None:
    (toml,) = blocks("toml", "Settings")
    (tmp_path / "springtide.toml").write_text(toml)

    settings = load_settings().settings

    assert settings.graph.max_age_days is None
    assert settings != Settings()


@pytest.mark.parametrize("block", blocks("toml", PARTS, GUIDE), ids=lambda block: block.split()[0])
def test_choices_of_parts_load_and_go_together(block: str, clean_environment: None, tmp_path: Path) -> None:
    path = tmp_path / "chosen.toml"
    path.write_text(block, encoding="utf-8")
    settings = load_settings(path).settings
    load_plugins(settings.plugins).check(settings)


def test_every_built_in_part_is_named_in_the_table_of_parts() -> None:
    rows = re.findall(r"^\| ([a-z ]+) \| (`.*) \|$", section_of(PARTS, GUIDE), re.MULTILINE)
    named = {(kind, name) for kind, names in rows for name in re.findall(r"`([a-z0-9_]+)`", names)}
    built_in = {(part.kind, part.name) for part in load_plugins().parts if part.origin.startswith("springtide ")}
    # Several at once is said in words.
    assert built_in - named == {("aggregator", "several")}
    assert named <= built_in
