"""What deploy/ starts exists: commands in the command line, settings that load; its README says what is there."""

import re
import shutil
import ssl
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from springtide.settings.load import load_settings
from springtide.settings.model import Settings, TlsSettings
from springtide_services.access.certificates import server_credentials
from springtide_services.access.public import check_doors
from springtide_services.cli.app import app
from springtide_services.cli.check import app as check

DEPLOY = Path(__file__).parents[1] / "deploy"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPRINGTIDE_SETTINGS", "KAFKA_BOOTSTRAP_SERVERS"):
        monkeypatch.delenv(name, raising=False)


def assert_command_exists(arguments: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    name, *rest = arguments
    assert name in command.commands
    options = {option for parameter in command.commands[name].params for option in parameter.opts}
    assert {argument for argument in rest if argument.startswith("--")} <= options


def manifests() -> list[dict[str, Any]]:
    return [
        manifest for path in (DEPLOY / "kubernetes").glob("*.yaml") for manifest in yaml.safe_load_all(path.read_text())
    ]


def test_compose_starts_commands_that_exist() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())

    assert set(compose["services"]) == {"kafka", "server", "trainer"}
    for name in ("server", "trainer"):
        assert_command_exists(compose["services"][name]["command"])
    used = {volume.split(":")[0] for service in compose["services"].values() for volume in service["volumes"]}
    assert {name for name in used if not name.startswith(".")} == set(compose["volumes"])
    made = "./secrets/server"  # By make-secrets.sh.
    assert all((DEPLOY / name).exists() for name in used - {made} if name.startswith("."))


def test_compose_runs_kafka_without_zookeeper() -> None:
    environment = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["kafka"]["environment"]

    assert environment["KAFKA_PROCESS_ROLES"] == "broker,controller"
    assert "KAFKA_ZOOKEEPER_CONNECT" not in environment


def test_kubernetes_starts_commands_that_exist() -> None:
    (deployment,) = (manifest for manifest in manifests() if manifest["kind"] == "Deployment")

    for container in deployment["spec"]["template"]["spec"]["containers"]:
        assert_command_exists(container["args"])


def test_kubernetes_runs_one_server_for_one_checkpoint_url() -> None:
    (deployment,) = (manifest for manifest in manifests() if manifest["kind"] == "Deployment")

    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}


def test_deployed_settings_load(tmp_path: Path) -> None:
    assert load_settings(DEPLOY / "springtide.toml").settings.server.host == "0.0.0.0"
    (config,) = (manifest for manifest in manifests() if manifest["kind"] == "ConfigMap")
    file = tmp_path / "springtide.toml"
    file.write_text(config["data"]["springtide.toml"])
    assert load_settings(file).settings == load_settings(DEPLOY / "springtide.toml").settings


def test_deployed_server_is_secured_and_its_secrets_are_where_its_settings_say() -> None:
    server = load_settings(DEPLOY / "springtide.toml").settings.server
    assert server.has_tls
    assert server.has_tokens
    assert not server.insecure
    check_doors(server)
    named = {server.tls.cert, server.tls.key, server.tokens.file}
    made = re.findall(r"\$folder/server/([\w.]+)", (DEPLOY / "make-secrets.sh").read_text())
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["server"]["volumes"]
    (deployment,) = (manifest for manifest in manifests() if manifest["kind"] == "Deployment")
    (container, _) = deployment["spec"]["template"]["spec"]["containers"]
    (mount,) = (mount for mount in container["volumeMounts"] if mount["name"] == "secrets")
    assert "./secrets/server:/etc/springtide-secrets:ro" in compose
    assert mount["mountPath"] == "/etc/springtide-secrets"
    assert named == {f"/etc/springtide-secrets/{name}" for name in made}
    probe = container["readinessProbe"]["exec"]["command"]
    assert probe[:3] == ["springtide", "check", "server"]
    assert {command.name for command in check.registered_commands} >= {"server"}


def test_secrets_are_made_so_that_a_server_takes_them(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    folder = tmp_path / "secrets"
    for _ in range(2):  # Again, when the certificate is old: with the same authority.
        subprocess.run([DEPLOY / "make-secrets.sh", folder, "server"], check=True, capture_output=True, timeout=60)
    server = folder / "server"
    server_credentials(TlsSettings(cert=str(server / "server.pem"), key=str(server / "server.key")))
    found = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    assert len(found.get_ca_certs()) == 1
    assert folder.stat().st_mode & 0o077 == 0
    assert {file.name for file in server.iterdir()} == {"server.pem", "server.key", "tokens"}


def test_image_starts_a_command_that_exists() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()

    assert 'ENTRYPOINT ["springtide"]' in lines
    commands = [line.removeprefix("CMD ") for line in lines if line.startswith("CMD ")]
    assert len(commands) == 2
    for command in commands:
        assert_command_exists(yaml.safe_load(command))


def test_images_are_those_that_compose_and_kubernetes_name() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    targets = {line.rpartition(" AS ")[2] for line in lines if line.startswith("FROM ")}
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    (deployment,) = (manifest for manifest in manifests() if manifest["kind"] == "Deployment")
    images = {
        container["name"]: container["image"] for container in deployment["spec"]["template"]["spec"]["containers"]
    }

    for name in ("server", "trainer"):
        assert name in targets
        assert compose[name]["build"]["target"] == name
        assert compose[name]["image"] == images[name] == f"springtide-{name}"


def test_image_of_the_server_is_installed_without_what_trains() -> None:
    (install,) = (line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if " '.[s3]' " in line)
    assert install.startswith("RUN /opt/springtide/bin/pip install ")
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[<>=;\[ ]", requirement)[0] for requirement in project["dependencies"]}
    assert needed.isdisjoint({"torch", "torch-geometric", "networkx", "numba", "pyarrow"})
    assert {"torch", "torch-geometric"} < {line.partition(">")[0] for line in project["optional-dependencies"]["train"]}


def test_readme_names_every_file_of_the_folder() -> None:
    readme = (DEPLOY / "README.md").read_text(encoding="utf-8")
    files = {path.relative_to(DEPLOY).as_posix() for path in DEPLOY.rglob("*") if path.is_file()} - {"README.md"}
    files = {name for name in files if not name.startswith(("secrets/", "docs/"))}

    assert {name for name in files if f"]({name})" not in readme} == set()


def test_index_of_the_site_names_every_page_of_the_folder() -> None:
    index = (DEPLOY / "docs" / "index.md").read_text(encoding="utf-8")
    files = {path.relative_to(DEPLOY / "docs").as_posix() for path in (DEPLOY / "docs").rglob("*") if path.is_file()}

    assert {name for name in files - {"index.md", "site.css"} if f"]({name})" not in index} == set()


def test_kubernetes_runs_one_server_as_the_readme_says() -> None:
    readme = (DEPLOY / "README.md").read_text(encoding="utf-8")
    (deployment,) = (manifest for manifest in manifests() if manifest["kind"] == "Deployment")

    assert "`replicas: 1`" in readme
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}


def test_ports_of_the_readme_are_those_of_compose() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    published = {port.split(":")[0] for service in compose["services"].values() for port in service.get("ports", [])}
    named = set(re.findall(r"`localhost:(\d+)`", (DEPLOY / "README.md").read_text(encoding="utf-8")))

    assert named == published


def test_defaults_that_the_readme_gives_are_the_defaults() -> None:
    readme = (DEPLOY / "README.md").read_text(encoding="utf-8")
    given = re.findall(r"`([a-z_]+)\.([a-z_]+)`\s\(([\d.]+)[;)]", readme)

    assert given
    for section, name, value in given:
        assert getattr(getattr(Settings(), section), name) == float(value), name
