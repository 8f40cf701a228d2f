"""What the doctor finds of doors, certificates and tokens."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from springtide.clock import MS_PER_DAY, wall_ms
from springtide.settings.model import ServerSettings, Settings, TlsSettings, TokenSettings
from springtide_services.access.public import check_doors
from springtide_services.access.roles import Role
from springtide_services.access.token_file import add_token
from springtide_services.access.tokens import make_token
from springtide_services.doctor.keys import door_findings, tls_findings, token_findings
from springtide_services.findings import Finding, Level


def settings_with(**server: object) -> Settings:
    return Settings(server=ServerSettings.model_validate(server))


def not_ok(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.level is not Level.OK]


def test_listener_on_this_machine_alone_is_well() -> None:
    assert not not_ok(list(door_findings(Settings(), check_doors)))


def test_public_listener_without_keys_fails_as_the_server_would() -> None:
    (finding,) = door_findings(settings_with(host="0.0.0.0"), check_doors)
    assert finding.level is Level.FAILURE
    assert "server.host: 0.0.0.0" in finding.message


def test_public_listener_that_is_meant_is_a_warning() -> None:
    (finding,) = door_findings(settings_with(host="0.0.0.0", insecure=True), check_doors)
    assert finding.level is Level.WARNING


def certificate(folder: Path, days: float) -> TlsSettings:
    trustme = pytest.importorskip("trustme")
    now = datetime.now(UTC)
    made = trustme.CA().issue_cert(
        "localhost", not_before=now - timedelta(days=30), not_after=now + timedelta(days=days)
    )
    made.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    made.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "key.pem").chmod(0o600)
    return TlsSettings(cert=str(folder / "cert.pem"), key=str(folder / "key.pem"))


@pytest.mark.parametrize(
    ("days", "level", "words"),
    [(90.5, Level.OK, "ends in 90 days"), (3.4, Level.WARNING, "ends in 3 days"), (-1, Level.FAILURE, "has ended")],
)
def test_certificate_is_as_well_as_it_is_far_from_its_end(
    tmp_path: Path, days: float, level: Level, words: str
) -> None:
    (finding,) = tls_findings(certificate(tmp_path, days))
    assert finding.level is level
    assert words in finding.message


def test_key_that_others_may_read_is_a_warning(tmp_path: Path) -> None:
    tls = certificate(tmp_path, 90)
    (tmp_path / "key.pem").chmod(0o644)
    (_, finding) = tls_findings(tls)
    assert finding.command == f"chmod o-rwx {tmp_path / 'key.pem'}"


def test_certificate_that_is_none_fails(tmp_path: Path) -> None:
    tls = certificate(tmp_path, 90)
    (tmp_path / "cert.pem").write_text("no certificate", encoding="utf-8")
    (finding,) = tls_findings(tls)
    assert finding.level is Level.FAILURE


def settings_of_tokens(folder: Path, *tokens: tuple[str, Role, float | None]) -> Settings:
    file = folder / "tokens"
    for name, role, days in tokens:
        expires_ms = None if days is None else round(wall_ms() + days * MS_PER_DAY)
        add_token(file, make_token(name, (role,), wall_ms(), expires_ms)[1])
    return settings_with(tokens=TokenSettings(file=str(file)))


def test_good_tokens_are_well(tmp_path: Path) -> None:
    settings = settings_of_tokens(tmp_path, ("owner", Role.ADMIN, None), ("shop", Role.CLIENT, 100))
    assert not not_ok(list(token_findings(settings)))


def test_token_that_ends_soon_is_named(tmp_path: Path) -> None:
    settings = settings_of_tokens(tmp_path, ("owner", Role.ADMIN, None), ("shop", Role.CLIENT, 2.5))
    (finding,) = not_ok(list(token_findings(settings)))
    assert finding.level is Level.WARNING
    assert "token 'shop'" in finding.message


def test_tokens_that_let_nobody_operate_are_a_warning(tmp_path: Path) -> None:
    settings = settings_of_tokens(tmp_path, ("shop", Role.CLIENT, None))
    (finding,) = not_ok(list(token_findings(settings)))
    assert finding.command == "springtide tokens new NAME --role admin"


def test_file_of_tokens_that_is_missing_fails(tmp_path: Path) -> None:
    (finding,) = token_findings(settings_with(tokens=TokenSettings(file=str(tmp_path / "none"))))
    assert finding.level is Level.FAILURE
