"""authserver config: the settings in force."""

from pathlib import Path

import pytest

from authserver.runtime.settings import Settings
from tests.cli.commands import Commands


@pytest.mark.sqlite
def test_every_setting_is_shown_with_its_value(bare: Commands) -> None:
    bare.env["AUTHSERVER_TOKEN_TTL"] = "900"
    values = bare.json("config", "show")
    assert values.keys() == {"config_file", *Settings.model_fields}
    assert values["token_ttl"] == 900
    assert values["bcrypt_cost"] == 4
    assert values["public_url"] == "http://localhost:5001"
    assert values["database_url"] == f"sqlite:///{bare.data_dir}/authserver.db"
    assert values["master_key_file"] == str(bare.data_dir / "master.key")
    text = bare("config", "show").splitlines()
    assert [line.split(maxsplit=1)[0] for line in text] == list(values)


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_secrets_are_not_shown(bare: Commands, tmp_path: Path, form: list[str]) -> None:
    url = "postgresql+psycopg://authserver:open-sesame@db.example.com/auth"
    bare.env["AUTHSERVER_DATABASE_URL"] = url
    (tmp_path / "password").write_text("open-sesame\n")
    bare.env["AUTHSERVER_ADMIN_PASSWORD_FILE"] = str(tmp_path / "password")
    said = bare("config", "show", *form)
    assert "db.example.com" in said
    assert "sesame" not in said + bare.err


def test_paths_are_absolute_and_the_file_that_was_read_is_named(
    bare: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bare.json("config", "show")["config_file"] is None
    monkeypatch.chdir(tmp_path)
    (tmp_path / "authserver.toml").write_text("")
    values = bare.json("--config", "authserver.toml", "--data-dir", "data", "config", "show")
    assert values["config_file"] == str(tmp_path / "authserver.toml")
    assert values["data_dir"] == str(tmp_path / "data")
    assert values["master_key_file"] == str(tmp_path / "data" / "master.key")
    bare.env["AUTHSERVER_MASTER_KEY_FILE"] = "elsewhere.key"
    assert bare.json("config", "show")["master_key_file"] == str(tmp_path / "elsewhere.key")


def test_showing_settings_makes_nothing(bare: Commands) -> None:
    bare("config", "show")
    assert not bare.data_dir.exists()


def test_flag_then_environment_then_file_then_default(bare: Commands, tmp_path: Path) -> None:
    file = tmp_path / "authserver.toml"
    file.write_text('port = 1111\nissuer = "filed"\ntoken_ttl = 61\n')
    bare.env["AUTHSERVER_PORT"] = "2222"
    values = {}
    named = ["--config", str(file)]
    for flags in (named, [*named, "--data-dir", str(tmp_path / "flagged")]):
        values = bare.json(*flags, "config", "show")
        assert (values["port"], values["issuer"], values["token_ttl"]) == (2222, "filed", 61)
        assert values["host"] == "127.0.0.1"
    assert values["data_dir"] == str(tmp_path / "flagged")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTHSERVER_TOKEN_TTl", "60"),
        ("AUTHSERVER_TOKN_TTL", "60"),
        ("AUTHSERVER_TOKEN_TTL", "59"),
        ("AUTHSERVER_TOKEN_TTL", "5m"),
        ("AUTHSERVER_BCRYPT_COST", "3"),
        ("AUTHSERVER_BCRYPT_COST", "32"),
        ("AUTHSERVER_WORKERS", "0"),
        ("AUTHSERVER_LOG_FORMAT", "xml"),
        ("AUTHSERVER_PUBLIC_URL", "auth.example.com"),
        ("AUTHSERVER_DATABASE_URL", "open-sesame"),
        ("AUTHSERVER_CONFIG_FILE", "/nowhere/authserver.toml"),
    ],
)
def test_what_is_no_setting_is_refused_by_its_name(bare: Commands, name: str, value: str) -> None:
    bare.env[name] = value
    bare("config", "show", status=1)
    assert name in bare.err or value in bare.err
    assert "sesame" not in bare.err


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("prot = 1", "port"),
        ("port = 'x'", "AUTHSERVER_PORT"),
        ("port =", "TOML"),
        ("[server]\nport = 1", "server"),
        ("'", "authserver.toml"),
    ],
)
def test_a_settings_file_that_is_wrong_is_refused(
    bare: Commands, tmp_path: Path, text: str, named: str
) -> None:
    (tmp_path / "authserver.toml").write_text(text)
    bare("--config", tmp_path / "authserver.toml", "config", "show", status=1)
    assert named in bare.err
    assert "Traceback" not in bare.err


@pytest.mark.parametrize(("cost", "warned"), [("4", True), ("9", True), ("10", False)])
def test_a_low_cost_is_warned_of(bare: Commands, cost: str, warned: bool) -> None:
    bare.env["AUTHSERVER_BCRYPT_COST"] = cost
    bare("config", "show")
    assert ("Warning: AUTHSERVER_BCRYPT_COST" in bare.err) == warned
