import pickle
from pathlib import Path

import pytest

from springtide.errors import SettingsError
from springtide.settings.load import load_settings
from springtide.settings.model import PartSettings, Settings
from springtide.settings.view import masked, to_toml


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SPRINGTIDE_SETTINGS", "KAFKA_BOOTSTRAP_SERVERS"):
        monkeypatch.delenv(name, raising=False)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_settings_without_a_file_are_the_defaults() -> None:
    loaded = load_settings()

    assert loaded.settings == Settings()
    assert loaded.origins == {}


def test_file_in_the_working_folder_is_read(tmp_path: Path) -> None:
    write(tmp_path / "springtide.toml", "[server]\nport = 7000\n")

    loaded = load_settings()

    assert loaded.settings.server.port == 7000
    assert loaded.origins == {("server", "port"): "springtide.toml"}


def test_named_file_wins_over_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPRINGTIDE_SETTINGS", str(write(tmp_path / "a.toml", "[server]\nport = 7001\n")))
    other = write(tmp_path / "b.toml", "[server]\nport = 7002\n")

    assert load_settings().settings.server.port == 7001
    assert load_settings(other).settings.server.port == 7002


def test_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "a.toml", '[kafka]\nbootstrap_servers = "file:9092"\ntopic = "clicks"\n')
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "plain:9092")
    assert load_settings(file).settings.kafka.bootstrap_servers == "plain:9092"

    monkeypatch.setenv("SPRINGTIDE_KAFKA__BOOTSTRAP_SERVERS", "ours:9092")
    loaded = load_settings(file)

    assert loaded.settings.kafka.bootstrap_servers == "ours:9092"
    assert loaded.settings.kafka.topic == "clicks"
    assert loaded.origins["kafka", "bootstrap_servers"] == "SPRINGTIDE_KAFKA__BOOTSTRAP_SERVERS"


def test_table_of_own_names_is_replaced_by_the_file_and_amended_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPRINGTIDE_INTERACTIONS__LISTEN__WEIGHT", "2.5")
    assert len(load_settings().settings.interactions) == len(Settings().interactions) + 1

    file = write(tmp_path / "a.toml", '[interactions.listen]\n[interactions."stars>=4"]\nweight = 3\n')
    rules = load_settings(file).settings.interactions

    assert {name: rule.weight for name, rule in rules.items()} == {"listen": 2.5, "stars>=4": 3.0}


def test_kinds_of_attributes_are_amended_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "a.toml", '[attributes.item]\nprice = "number"\npassword = "text"\n')
    monkeypatch.setenv("SPRINGTIDE_ATTRIBUTES__ITEM__TAGS", "category")
    settings = load_settings(file).settings

    assert settings.attributes == {"item": {"price": "number", "password": "text", "tags": "category"}}
    assert masked(settings)["attributes"] == settings.attributes, "a name is no secret"


def test_part_keeps_its_default_name_when_only_options_are_set(tmp_path: Path) -> None:
    file = write(tmp_path / "a.toml", "[model.encoder.options]\nalpha = 0.5\n")

    encoder = load_settings(file).settings.model.encoder

    assert encoder.name == Settings().model.encoder.name
    assert encoder.options == {"alpha": 0.5}


def test_aggregator_may_be_left_to_the_encoder_or_set_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_settings().settings.model.aggregator is None
    file = write(tmp_path / "a.toml", '[model]\naggregator = {name = "lstm", options = {max_messages = 8}}\n')
    assert load_settings(file).settings.model.aggregator == PartSettings(name="lstm", options={"max_messages": 8})
    monkeypatch.setenv("SPRINGTIDE_MODEL__AGGREGATOR__NAME", "max")
    assert load_settings().settings.model.aggregator == PartSettings(name="max")
    file = write(tmp_path / "b.toml", '[model]\naggregator = "none"\n')
    monkeypatch.delenv("SPRINGTIDE_MODEL__AGGREGATOR__NAME")
    assert load_settings(file).settings.model.aggregator is None


def test_options_of_parts_come_from_the_environment_as_what_they_read_as(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPRINGTIDE_MODEL__LOSS__OPTIONS__MARGIN", "0.3")
    monkeypatch.setenv("SPRINGTIDE_MODEL__LOSS__OPTIONS__MODE", "fast")
    monkeypatch.setenv("SPRINGTIDE_KAFKA__CLIENT_OPTIONS__SASL_PLAIN_PASSWORD", "0123")
    settings = load_settings().settings
    assert settings.model.loss.options == {"margin": 0.3, "mode": "fast"}
    assert settings.kafka.client_options == {"sasl_plain_password": "0123"}, "a password is text whatever it reads as"


def test_part_may_be_written_as_its_name_and_aggregators_as_a_list(tmp_path: Path) -> None:
    file = write(tmp_path / "a.toml", '[model]\nencoder = "gat"\naggregator = ["mean", "max"]\n')

    model = load_settings(file).settings.model

    assert (model.encoder.name, model.encoder.options) == ("gat", {})
    assert (model.aggregator.name, model.aggregator.options) == ("several", {"of": ["mean", "max"]})


def test_none_in_words_takes_a_bound_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "a.toml", '[graph]\nmax_edges = "none"\n')
    monkeypatch.setenv("SPRINGTIDE_TRAINING__RETRAIN_EVERY_S", "none")

    settings = load_settings(file).settings

    assert settings.graph.max_edges is None
    assert settings.training.retrain_every_s is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[kafka]\nbootstrap_server = 'a'\n", "(did you mean kafka.bootstrap_servers?)"),
        ("[traning]\nsteps = 2\n", "no setting named 'traning' (did you mean training?)"),
        ("steps = 2\n", "no setting named 'steps' (did you mean training.steps?)"),
        ("[plugins]\nzzz = 1\n", "no setting named 'plugins.zzz' (choices: allow, folder, "),
        ("[interactions.buy]\nwieght = 2\n", "(did you mean interactions.buy.weight?)"),
        ("[model.encoder]\nnane = 'gat'\n", "no setting named 'model.encoder.nane' (did you mean model.encoder.name?)"),
        ("server = 3\n", "server is a table of settings, got 3"),
        ("[server]\nport = 70000\n", "server.port: input should be less than or equal to 65535, got 70000"),
        ("[interactions.buy]\nweight = -1\n", "interactions.buy.weight: input should be greater than 0, got -1"),
        ("[attributes.item]\nprice = 'float'\n", "attributes.item.price: input should be 'category'"),
        ("[attributes]\nprice = 'number'\n", "attributes.price: input should be a valid dictionary, got 'number'"),
        ("[server\n", "is not TOML"),
    ],
)  # fmt: skip
def test_wrong_file_is_refused_naming_it(tmp_path: Path, text: str, message: str) -> None:
    file = write(tmp_path / "a.toml", text)

    with pytest.raises(SettingsError) as caught:
        load_settings(file)

    assert str(file) in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    """As Notepad and PowerShell write it."""
    (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbf[server]\r\nport = 5\r\n")
    assert load_settings(tmp_path / "a.toml").settings.server.port == 5


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_file_in_another_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.toml").write_bytes("# Schlüssel\n".encode(encoding))
    with pytest.raises(SettingsError, match=r"a\.toml is not UTF-8, as TOML is: "):
        load_settings(tmp_path / "a.toml")


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml cannot be read: No such file"):
        load_settings(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("SPRINGTIDE_KAFKA__TOPICS", "x", "no setting named 'kafka.topics' (did you mean kafka.topic?)"),
        ("SPRINGTIDE_KAFKE__TOPIC", "x", "no setting named 'kafke' (did you mean kafka?)"),
        ("SPRINGTIDE_SERVER__PORT", "ssh", "SPRINGTIDE_SERVER__PORT: server.port: input should be a valid integer"),
        ("SPRINGTIDE_KAFKA__CLIENT_OPTIONS", "hush", "wanted JSON for a table"),
    ],
)  # fmt: skip
def test_wrong_variable_is_refused_naming_it(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsError) as caught:
        load_settings()

    assert variable in str(caught.value)
    assert message in str(caught.value)


def test_error_about_a_table_does_not_repeat_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPRINGTIDE_KAFKA__CLIENT_OPTIONS", "hush")

    with pytest.raises(SettingsError) as caught:
        load_settings()

    assert "hush" not in str(caught.value)


def test_interaction_rule_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(write(tmp_path / "a.toml", '[interactions."rating=>4"]\n'))


def test_toml_of_settings_reads_back_to_the_same_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = '[server]\nport = 7000\n[interactions."stars>=4"]\n[ranking.context_weights.trend]\ndays = [7, 28]\n'
    text += "[checkpoint]\nevery_s = inf\n"
    loaded = load_settings(write(tmp_path / "a.toml", text))

    shown = to_toml(loaded)

    assert "port = 7000  # " in shown
    assert load_settings(write(tmp_path / "b.toml", shown)).settings == loaded.settings


def test_secrets_are_masked() -> None:
    settings = Settings.model_validate(
        {
            "kafka": {"client_options": {"sasl_plain_password": "hush", "security_protocol": "SASL_SSL"}},
            "checkpoint": {"url": "s3://key:hush@bucket/checkpoints"},
        }
    )

    tree = masked(settings)

    assert tree["kafka"]["client_options"] == {"sasl_plain_password": "***", "security_protocol": "SASL_SSL"}
    assert tree["checkpoint"]["url"] == "s3://***@bucket/checkpoints"


def test_settings_cannot_be_changed_even_inside() -> None:
    settings = Settings()

    with pytest.raises(TypeError, match="frozen"):
        settings.ranking.context_weights["trend"] = {}
    with pytest.raises(TypeError, match="frozen"):
        settings.interactions.pop("purchase")


def test_settings_survive_the_way_to_another_process() -> None:
    settings = Settings()

    assert pickle.loads(pickle.dumps(settings)) == settings
