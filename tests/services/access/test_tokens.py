"""Tokens: what is shown once, what is kept, and what the file of them survives."""

import json
import os
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from springtide.errors import SettingsError
from springtide.settings.model import TokenSettings
from springtide_services.access.roles import Role
from springtide_services.access.token_file import KnownTokens, add_token, read_tokens, revoke_tokens
from springtide_services.access.tokens import Token, make_token, parts_of
from springtide_services.cli.tokens import app

NOW_MS = 1_000_000
DAY_MS = 86_400_000


def known(path: Path) -> KnownTokens:
    return KnownTokens(TokenSettings(file=str(path)))


def test_what_is_kept_knows_the_token_and_does_not_hold_it() -> None:
    shown, kept = make_token("shop", (Role.CLIENT,), NOW_MS)
    token_id, secret = parts_of(shown) or ("", "")
    assert token_id == kept.id
    assert len(bytes.fromhex(secret)) == 32
    assert kept.is_secret(secret)
    assert not kept.is_secret(secret[:-1] + ("0" if secret[-1] != "0" else "1"))
    assert secret not in kept.to_line()
    assert Token.from_line(kept.to_line()) == kept
    assert make_token("shop", (Role.CLIENT,), NOW_MS)[0] != shown


@pytest.mark.parametrize("text", ["", "springtide__", "a_b_c", "springtide_é_1", "x" * 10_000, "springtide_0_0\n"])
def test_what_is_no_token_has_no_parts(text: str) -> None:
    assert parts_of(text) is None


def test_token_ends_at_its_time_and_when_it_is_revoked() -> None:
    _, kept = make_token("shop", (Role.CLIENT,), NOW_MS, expires_ms=NOW_MS + DAY_MS)
    assert kept.why_not(NOW_MS + DAY_MS - 1) == ""
    assert "expired" in kept.why_not(NOW_MS + DAY_MS)
    assert "revoked" in kept.revoked(NOW_MS).why_not(NOW_MS)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": "a b"},
        {"name": "a\nb"},
        {"roles": ()},
        {"requests_per_s": 0.0},
        {"requests_per_s": float("nan")},
    ],
)
def test_nonsense_is_refused_at_birth(fields: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="wanted"):
        make_token(**{"name": "shop", "roles": (Role.CLIENT,), "now_ms": NOW_MS, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "line",
    [
        "springtide_0123",
        "{}",
        "[]",
        "null",
        "[" * 100_000,
        '{"id": 1, "name": "a", "roles": ["client"], "sha256": "", "created_ms": 1}',
        '{"id": "0123456789ab", "name": "a", "roles": ["root"], "sha256": "%s", "created_ms": 1}' % ("0" * 64),
        '{"id": "0123456789ab", "name": "a", "roles": ["client"], "sha256": "%s", "created_ms": "1"}' % ("0" * 64),
        '{"id": "0123456789ab", "name": "a", "roles": ["client"], "sha256": "%s", "created_ms": 1, "x": 1}'
        % ("0" * 64),
    ],
)
def test_line_that_is_no_token_lets_nobody_in_and_is_not_repeated(line: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"wanted|valid|Expecting") as refused:
        Token.from_line(line)
    assert line[:40] not in str(refused.value) or len(line) < 5
    _, kept = make_token("shop", (Role.CLIENT,), NOW_MS)
    (tmp_path / "tokens").write_text(f"# ours\n\n{line}\n{kept.to_line()}\n")
    assert read_tokens(tmp_path / "tokens") == [kept]


def test_file_is_its_owners_and_keeps_what_else_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    add_token(path, make_token("shop", (Role.CLIENT,), NOW_MS)[1])
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    path.write_text("# ours\n" + path.read_text().rstrip())  # An editor that leaves no line break at the end.
    add_token(path, make_token("shop", (Role.CLIENT,), NOW_MS)[1])
    add_token(path, make_token("app", (Role.CLIENT,), NOW_MS)[1])
    revoked = revoke_tokens(path, "shop", NOW_MS)
    assert [token.name for token in revoked] == ["shop", "shop"]
    assert [token.revoked_ms for token in read_tokens(path)] == [NOW_MS, NOW_MS, None]
    assert path.read_text().startswith("# ours\n")
    assert path.stat().st_mode & 0o777 == 0o640
    assert [file.name for file in tmp_path.iterdir()] == ["tokens"]
    with pytest.raises(SettingsError, match="no token 'shop' that is not revoked"):
        revoke_tokens(path, "shop", NOW_MS)


def test_changes_of_the_file_are_seen_and_a_file_that_stays_away_leaves_nobody_a_token(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    _, kept = make_token("shop", (Role.CLIENT,), NOW_MS)
    add_token(path, kept)
    tokens = known(path)
    assert tokens.by_id == {kept.id: kept}
    assert not tokens.look()
    revoke_tokens(path, kept.id, NOW_MS)
    assert tokens.look()
    assert tokens.by_id[kept.id].revoked_ms == NOW_MS
    os.rename(path, tmp_path / "away")
    assert not tokens.look(), "perhaps it is being written anew"
    assert tokens.by_id
    assert tokens.look()
    assert not tokens.by_id
    os.rename(tmp_path / "away", path)
    assert tokens.look()
    assert kept.id in tokens.by_id


def test_tokens_may_come_from_the_settings_alone(tmp_path: Path) -> None:
    _, kept = make_token("shop", (Role.CLIENT,), NOW_MS)
    assert KnownTokens(TokenSettings(lines=(kept.to_line(),))).by_id == {kept.id: kept}
    with pytest.raises(SettingsError, match=r"server\.tokens\.lines"):
        KnownTokens(TokenSettings(lines=("springtide_1_2",)))
    with pytest.raises(SettingsError, match=r"server\.tokens\.file: .* cannot be read"):
        known(tmp_path / "nothing")


def test_commands_make_list_and_revoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "springtide.toml").write_text('[server.tokens]\nfile = "tokens"\n')
    run = CliRunner().invoke
    made = run(app, ["new", "--role", "client", "--role", "explain", "--name", "shop", "--expires", "90d"])
    (shown,) = re.findall(r"^springtide_\S+$", made.stdout, re.M)
    (line,) = (tmp_path / "tokens").read_text().splitlines()
    fields = json.loads(line)
    assert fields["expires_ms"] - fields["created_ms"] == 90 * DAY_MS
    assert fields["roles"] == ["client", "explain"]
    assert shown.rpartition("_")[2] not in line
    listed = run(app, ["list"]).stdout
    assert shown.split("_")[1] in listed
    assert shown.rpartition("_")[2] not in listed
    assert fields["sha256"] not in listed
    assert run(app, ["revoke", "shop"]).exit_code == 0
    assert "revoked" in run(app, ["list"]).stdout
    assert run(app, ["new", "--role", "client", "--name", "shop", "--expires", "soon"]).exit_code != 0


def test_without_a_file_the_line_is_printed_beside_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = CliRunner().invoke(app, ["new", "--role", "client", "--name", "shop"])
    (line,) = re.findall(r"^\{.*\}$", made.stderr, re.M)
    shown = made.stdout.strip()
    tokens = KnownTokens(TokenSettings(lines=(line,)))
    token_id, secret = parts_of(shown) or ("", "")
    assert tokens.by_id[token_id].is_secret(secret)
    assert not list(tmp_path.iterdir())
