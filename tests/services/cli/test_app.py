import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = (
    "up",
    "broker",
    "serve",
    "train",
    "publish",
    "recommend",
    "explain",
    "season",
    "models",
    "checkpoints",
    "plugins",
    "config",
    "check",
    "evaluate",
    "demo",
)
SPRINGTIDE = Path(sys.executable).with_name("springtide")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SPRINGTIDE_SETTINGS", "KAFKA_BOOTSTRAP_SERVERS"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SPRINGTIDE, *arguments], capture_output=True, text=True, check=False, timeout=60)


def cpu_s_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_help_is_there_at_once_and_names_every_command() -> None:
    times_s = []
    for _ in range(3):
        start_s = cpu_s_of_children()  # On an idle machine the time to wait; and the same on a busy one.
        done = run("--help")
        times_s.append(cpu_s_of_children() - start_s)

    assert done.returncode == 0
    for command in COMMANDS:
        assert f" {command} " in done.stdout
    assert min(times_s) < 0.4  # 0.17 s alone; the other tests take the caches.


# What Typer needs to draw the help, and what declares our commands.
TYPER_NEEDS = {"annotated_doc", "attr", "markdown_it", "mdurl", "pygments", "rich", "shellingham", "typer"}
WE_NEED = {
    "springtide",
    "springtide.errors",
    "springtide.extras",
    "springtide.model",
    "springtide.model.manifest",  # The training modes.
    "springtide.settings",
    "springtide.settings.file",  # The variables of options.
    "springtide_services",
    "springtide_services.access",
    "springtide_services.access.roles",
    "springtide_services.exit_codes",
    "springtide_services.termination",
    "springtide_services.thread_pools",
}


def test_help_imports_nothing_but_what_it_needs() -> None:
    code = (
        "import sys\n"
        "sys.argv = ['springtide', '--help']\n"
        "before = set(sys.modules)\n"
        "from springtide_services.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: print('MODULES', *sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = done.stdout.partition("MODULES ")[2].split()
    ours = {module for module in modules if module.startswith("springtide")}
    packages = {module.partition(".")[0] for module in modules if module not in ours}

    assert packages - sys.stdlib_module_names <= TYPER_NEEDS
    assert {module for module in ours if not module.startswith("springtide_services.cli")} == WE_NEED


def test_wrong_setting_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "springtide.toml").write_text("[kafka]\nbotstrap_servers = 'x'\n")

    done = run("config", "show")

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "springtide: springtide.toml: no setting named 'kafka.botstrap_servers' "
        "(did you mean kafka.bootstrap_servers?)\n"
    )


def test_config_show_prints_settings_and_masks_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.toml").write_text("[server]\nport = 7000\n")
    monkeypatch.setenv("SPRINGTIDE_KAFKA__CLIENT_OPTIONS", json.dumps({"sasl_plain_password": "hush"}))

    done = run("config", "show", "--settings", "mine.toml")

    assert "port = 7000  # mine.toml" in done.stdout
    assert 'sasl_plain_password = "***"' in done.stdout
    assert "hush" not in done.stdout


@pytest.mark.parametrize("command", [["serve"], ["publish", "events.jsonl"]])
def test_command_that_needs_a_broker_says_so_without_one(command: list[str]) -> None:
    done = run(*command)

    assert done.returncode == 2
    assert "wanted kafka.bootstrap_servers, or KAFKA_BOOTSTRAP_SERVERS" in done.stderr
    assert "Traceback" not in done.stderr


def test_recommend_without_a_server_is_one_line() -> None:
    done = run("recommend", "anybody", "--address", "127.0.0.1:1")

    assert done.returncode == 1
    assert done.stderr.startswith("springtide: no server answers at 127.0.0.1:1")
    assert done.stderr.count("\n") == 1


def test_category_filter_that_cannot_be_read_is_refused() -> None:
    done = run("recommend", "anybody", "--only", "department")

    assert done.returncode == 1
    assert "wanted ATTRIBUTE=VALUE, got 'department'" in done.stderr


def test_a_full_disk_is_one_clear_line() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [Path(sys.executable).with_name("springtide"), "config", "show"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[0].startswith("springtide: No space left on device: make room and start again")
    assert "Traceback" not in done.stderr
