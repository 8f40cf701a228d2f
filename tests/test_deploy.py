"""What deploy/ starts exists: commands in the command line, settings that load; its README says what is there."""

import functools
import re
import shutil
import ssl
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer.main
import yaml

from springtide.settings.load import load_settings
from springtide.settings.model import Settings, TlsSettings
from springtide_services.access.certificates import server_credentials
from springtide_services.access.public import check_console_door, check_doors, check_metrics_door
from springtide_services.cli.app import app
from springtide_services.cli.check import app as check

DEPLOY = Path(__file__).parents[1] / "deploy"
OURS = ("server", "console", "trainer")
KUBERNETES = "1.34"
every_overlay = pytest.mark.parametrize("overlay", ["base", "one-node"])


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


@functools.cache
def manifests(overlay: str) -> list[dict[str, Any]]:
    """Return what `kubectl apply -k` applies; tests that ask for it are skipped where there is no kubectl."""
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl, for `kubectl kustomize`")
    command = ["kubectl", "kustomize", str(DEPLOY / "kubernetes" / overlay)]
    built = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return list(yaml.safe_load_all(built.stdout))


def of_kind(overlay: str, kind: str) -> dict[str, dict[str, Any]]:
    """Return the manifests of a kind, by name."""
    return {found["metadata"]["name"]: found for found in manifests(overlay) if found["kind"] == kind}


def containers(overlay: str) -> dict[str, dict[str, Any]]:
    """Return the containers of all deployments, by name."""
    deployments = of_kind(overlay, "Deployment").values()
    specs = [deployment["spec"]["template"]["spec"] for deployment in deployments]
    return {container["name"]: container for spec in specs for container in spec["containers"]}


def services() -> dict[str, dict[str, Any]]:
    services: dict[str, dict[str, Any]] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    return services


def test_compose_starts_commands_that_exist() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())

    assert set(services()) == {"kafka", "server", "console", "trainer", "prometheus", "grafana"}
    for name in OURS:
        assert_command_exists(services()[name]["command"])
    mounts = [volume.split(":")[0] for service in services().values() for volume in service["volumes"]]
    assert {name for name in mounts if not name.startswith(".")} == set(compose["volumes"])
    files = {name for name in mounts if name.startswith(".") and not name.startswith("./secrets/")}
    assert all((DEPLOY / name).exists() for name in files)


def test_compose_names_nothing_that_is_not_there() -> None:
    for name, service in services().items():
        for other in service.get("depends_on", []):
            assert other in services(), name
        if "build" in service:
            assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        else:
            image, _, version = service["image"].partition(":")
            assert image.startswith("springtide-") or re.search(r"\d", version), f"{name} is not pinned"


def test_compose_gives_our_containers_no_rights() -> None:
    for name in OURS:
        service = services()[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["environment"]["SPRINGTIDE_SETTINGS"] == "/etc/springtide/springtide.toml"
    assert services()["console"]["network_mode"] == "service:server"  # Operators' listener is on its loopback.


def test_compose_runs_kafka_without_zookeeper() -> None:
    environment = services()["kafka"]["environment"]

    assert environment["KAFKA_PROCESS_ROLES"] == "broker,controller"
    assert "KAFKA_ZOOKEEPER_CONNECT" not in environment


@every_overlay
def test_manifests_are_valid(overlay: str) -> None:
    """Against the API of a Kubernetes of now, strictly: a misspelt field is an error."""
    for manifest in manifests(overlay):
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


@every_overlay
def test_kubernetes_starts_commands_that_exist(overlay: str) -> None:
    assert set(containers(overlay)) == set(OURS)
    for container in containers(overlay).values():
        assert_command_exists(container["args"])


@every_overlay
def test_kubernetes_starts_what_compose_starts(overlay: str) -> None:
    for name, container in containers(overlay).items():
        assert container["args"] == services()[name]["command"]


@every_overlay
def test_kubernetes_gives_our_containers_no_rights(overlay: str) -> None:
    for deployment in of_kind(overlay, "Deployment").values():
        spec = deployment["spec"]["template"]["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"cpu", "memory"} == set(container["resources"]["requests"])
            assert "memory" in container["resources"]["limits"]


@every_overlay
def test_selectors_and_ports_of_kubernetes_lead_somewhere(overlay: str) -> None:
    pods = [deployment["spec"]["template"] for deployment in of_kind(overlay, "Deployment").values()]

    def ports_of(selector: dict[str, str]) -> set[str]:
        chosen = [pod for pod in pods if selector.items() <= pod["metadata"]["labels"].items()]
        assert chosen, selector
        return {
            port["name"] for pod in chosen for container in pod["spec"]["containers"] for port in container["ports"]
        }

    for service in of_kind(overlay, "Service").values():
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports_of(service["spec"]["selector"])
    for policy in of_kind(overlay, "NetworkPolicy").values():
        named = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
        assert named <= ports_of(policy["spec"]["podSelector"]["matchLabels"])
    for budget in of_kind(overlay, "PodDisruptionBudget").values():
        assert ports_of(budget["spec"]["selector"]["matchLabels"])
    monitor = yaml.safe_load((DEPLOY / "kubernetes" / "monitoring" / "podmonitor.yaml").read_text())["spec"]
    assert "metrics" in ports_of(monitor["selector"]["matchLabels"])


def test_kubernetes_runs_as_many_servers_as_are_wanted() -> None:
    (scaler,) = of_kind("base", "HorizontalPodAutoscaler").values()
    server = of_kind("base", "Deployment")["springtide-server"]["spec"]

    assert scaler["spec"]["scaleTargetRef"]["name"] == "springtide-server"
    assert scaler["spec"]["minReplicas"] >= 2
    assert "replicas" not in server  # Each `kubectl apply` would undo what the autoscaler has chosen.
    assert server["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert of_kind("base", "Deployment")["springtide-trainer"]["spec"]["replicas"] == 1


def test_kubernetes_on_one_node_runs_one_server_on_one_volume() -> None:
    assert of_kind("one-node", "HorizontalPodAutoscaler") == {}
    server, trainer = (
        of_kind("one-node", "Deployment")[f"springtide-{name}"]["spec"] for name in ("server", "trainer")
    )

    assert server["replicas"] == 1
    assert server["strategy"] == {"type": "Recreate"}
    for deployment in (server, trainer):
        volumes = {volume["name"]: volume for volume in deployment["template"]["spec"]["volumes"]}
        claim = volumes["state"]["persistentVolumeClaim"]["claimName"]
        assert claim in of_kind("one-node", "PersistentVolumeClaim")
    (term,) = trainer["template"]["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["labelSelector"]["matchLabels"] == {"app": "springtide-server"}


@every_overlay
def test_settings_of_kubernetes_load_and_are_secured(overlay: str, tmp_path: Path) -> None:
    (config,) = of_kind(overlay, "ConfigMap").values()
    file = tmp_path / "springtide.toml"
    file.write_text(config["data"]["springtide.toml"])
    settings = load_settings(file).settings
    check_doors(settings.server)
    check_console_door(settings.console, settings.server)
    check_metrics_door(settings)
    assert settings.checkpoint.url.startswith("s3://") is (overlay == "base")
    for container in containers(overlay).values():
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert {"/etc/springtide", "/etc/springtide-secrets", "/var/lib/springtide", "/tmp"} <= mounts
        assert {"name": "SPRINGTIDE_SETTINGS", "value": "/etc/springtide/springtide.toml"} in container["env"]
    ports = {port["name"]: port["containerPort"] for c in containers(overlay).values() for port in c["ports"]}
    server = containers(overlay)["server"]["ports"]
    assert {port["name"]: port["containerPort"] for port in server}["metrics"] == settings.metrics.port
    assert ports["grpc"] == settings.server.port
    assert ports["console"] == settings.console.port


def test_deployed_server_is_secured_and_its_secrets_are_where_its_settings_say() -> None:
    server = load_settings(DEPLOY / "springtide.toml").settings.server
    assert server.host == "0.0.0.0"
    assert server.has_tls
    assert server.has_tokens
    assert not server.insecure
    check_doors(server)
    made = re.findall(r"\$folder/server/([\w.]+)", (DEPLOY / "make-secrets.sh").read_text())
    named = {server.tls.cert, server.tls.key, server.tokens.file, "/etc/springtide-secrets/ca.pem"}
    assert named == {f"/etc/springtide-secrets/{name}" for name in made}
    assert "./secrets/server:/etc/springtide-secrets:ro" in services()["server"]["volumes"]
    probe = containers("base")["server"]["readinessProbe"]["exec"]["command"]
    assert probe == ["springtide", "check", "server"]
    assert {command.name for command in check.registered_commands} >= {"server"}


def test_prometheus_of_compose_reads_what_compose_starts() -> None:
    scraped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    targets = {target for job in scraped for config in job["static_configs"] for target in config["targets"]}
    environment = services()["server"]["environment"]
    ports = environment["SPRINGTIDE_METRICS__PORT"], environment["SPRINGTIDE_METRICS__TRAINER_PORT"]
    assert targets == {f"server:{ports[0]}", f"trainer:{ports[1]}"}
    mounted = {volume.split(":")[1] for volume in services()["prometheus"]["volumes"]}
    for job in scraped:
        assert job["authorization"]["credentials_file"] in mounted
        assert job["tls_config"]["ca_file"] in mounted
        assert job["tls_config"]["server_name"] in services()  # The name that make-secrets.sh is given.


def test_image_and_scripts_have_no_lint() -> None:
    tools = Path(sys.executable).parent
    subprocess.run([tools / "hadolint", DEPLOY / "Dockerfile"], check=True, timeout=60)
    subprocess.run([tools / "shellcheck", *sorted(DEPLOY.glob("*.sh"))], check=True, timeout=60)


def test_image_runs_as_nobody_special_and_says_whether_it_is_well() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    assert re.search(r"^USER 1000:1000$", text, re.MULTILINE)
    assert len(set(re.findall(r"^FROM (python:\S+) ", text, re.MULTILINE))) == 1
    assert re.search(r"^FROM python:\d+\.\d+\.\d+-slim-\w+ ", text, re.MULTILINE)
    (healthcheck,) = re.findall(r"^HEALTHCHECK .* CMD (\[.*\])$", text, re.MULTILINE)
    assert yaml.safe_load(healthcheck) == ["springtide", "check", "server"]
    installs = re.findall(r"/pip install .*", text)
    assert all("-c constraints.txt" in line or "grep '^torch==' constraints.txt" in line for line in installs)


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
    assert {file.name for file in server.iterdir()} == {"server.pem", "server.key", "ca.pem", "tokens"}


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
    for name in ("server", "trainer"):
        assert name in targets
        assert services()[name]["build"]["target"] == name
        assert services()[name]["image"] == containers("base")[name]["image"] == f"springtide-{name}"
    assert services()["console"]["image"] == containers("base")["console"]["image"] == "springtide-server"


def test_image_of_the_server_is_installed_without_what_trains() -> None:
    (install,) = (line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if " '.[s3,console]' " in line)
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
    files = [path for kind in ("*.md", "*.ipynb") for path in (DEPLOY / "docs").rglob(kind)]

    pages = {path.relative_to(DEPLOY / "docs").as_posix() for path in files} - {"index.md"}
    assert len(pages) > 5
    assert {name for name in pages if f"]({name})" not in index} == set()


def test_ports_of_the_readme_are_those_of_compose() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    published = {port.split(":")[-2] for service in compose["services"].values() for port in service.get("ports", [])}
    named = set(re.findall(r"`localhost:(\d+)`", (DEPLOY / "README.md").read_text(encoding="utf-8")))

    assert named == published


def test_defaults_that_the_readme_gives_are_the_defaults() -> None:
    readme = (DEPLOY / "README.md").read_text(encoding="utf-8")
    given = re.findall(r"`([a-z_]+)\.([a-z_]+)`\s\(([\d.]+)[;)]", readme)

    assert given
    for section, name, value in given:
        assert getattr(getattr(Settings(), section), name) == float(value), name
