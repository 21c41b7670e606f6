"""What was named must exist, and what an environment hands over is used or refused in one sentence."""

from __future__ import annotations

import codecs
import os
from pathlib import Path

import pytest

from kpc.calling_user import calling_user
from kpc.errors import ConfigError
from kpc.settings import load_settings


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No setting comes from the caller's environment or folder."""
    for name in [name for name in os.environ if name.upper().startswith("KPC")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


MISTYPED = {
    "KPC__LEDGER__URL": "KPC__LEDGER_URL",
    "KPC__HASHKEY": "KPC__HASH_KEY",
    "KPC__ORACLE__DNS": "KPC__ORACLE__DSN",
    "KPC__ORACLE_DSN": "KPC__ORACLE__DSN",
    "KPC__ORACLE": "KPC__ORACLE__",
    "KPC_ORACLE__DSN": "KPC__ORACLE__DSN",
    "KPC_ORACLE__DNS": "KPC__ORACLE__DSN",
    "KPC_ORACLE_DSN": "KPC__ORACLE__DSN",
    "KPC_LEDGER_URL": "KPC__LEDGER_URL",
    "KPC___LEDGER_URL": "KPC__LEDGER_URL",
    "kpc__ledgerurl": "KPC__LEDGER_URL",
    "KPC.ORACLE.DSN": "KPC__ORACLE__DSN",
    "KCP__LEDGER_URL": "KPC__LEDGER_URL",
    "KPS__ORACLE__DSN": "KPC__ORACLE__DSN",
    "KPC_CONFG": "KPC_CONFIG",
    "KPC__CONFIG": "KPC_CONFIG",
    "KPC_LOGS": "KPC_LOG",
}


@pytest.mark.parametrize(("given", "meant"), MISTYPED.items(), ids=list(MISTYPED))
def test_a_mistyped_variable_is_refused_with_the_nearest_name(
    given: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(given, "s3cret")
    with pytest.raises(ConfigError) as refused:
        load_settings()
    assert f"{given} is no setting; the nearest is {meant}" in str(refused.value)
    assert "s3cret" not in str(refused.value)
    monkeypatch.setenv(given, "")
    load_settings()  # an empty variable counts as not set


FOREIGN = (
    "KPC_SERVICE_HOST", "KPC_PORT", "KPC_PORT_8080_TCP", "KPC_ORACLE_SERVICE_HOST", "KPC_ORACLE_PORT_1521_TCP_ADDR",
    "KPC_STAGING_PORT", "KPC_HOME", "KPC_VERSION", "ABC__ORACLE__DSN", "ORACLE_HOME", "TNS_ADMIN",
)  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_variables_of_other_software_are_left_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes adds some for each service, also for one called kpc-oracle."""
    monkeypatch.setenv(name, "tcp://10.0.0.1:80")
    load_settings()


def test_lower_case_is_read_and_two_values_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "named.toml").write_text('[oracle]\nuser = "from the file"\n')
    monkeypatch.setenv("kpc_config", "named.toml")
    monkeypatch.setenv("kpc__hash_key", "one")
    assert load_settings().hash_key.get_secret_value() == "one"
    assert load_settings().oracle.user == "from the file"
    monkeypatch.setenv("KPC__HASH_KEY", "two")
    with pytest.raises(ConfigError, match="two values for KPC__HASH_KEY"):
        load_settings()


FILES: dict[str, tuple[bytes | None, str]] = {
    "none": (None, "No such file"),
    "empty": (b"", "is empty"),
    "blank": (b" \r\n\t\n", "is empty"),
    "UTF-16": ('hash_key = "x"'.encode("utf-16"), "UTF-16"),
    "UTF-16, big end first": (codecs.BOM_UTF16_BE + 'hash_key = "x"'.encode("utf-16-be"), "UTF-16"),
    "UTF-32": ('hash_key = "x"'.encode("utf-32"), "UTF-32"),
    "cp874": ('\nhash_key = "กุญแจ"'.encode("cp874"), "line 2 has the byte 0xa1"),
    "binary": (bytes(range(256)), "not UTF-8"),
    "no TOML": (b"hash_key: x", "is not TOML"),
    "deep": (b"a = " + b"[" * 5_000, "too deeply"),
    "long": (b"#" * 1_000_001, "too long"),
    "wrong key": (b'ledger-url = "x"', "the nearest is ledger_url"),
    "wrong key in a section": (b'[oracle]\ndns = "x"', "oracle.dns is no setting; the nearest is oracle.dsn"),
    "section in capitals": (b'[Oracle]\ndsn = "x"', "Oracle is no setting; the nearest is oracle"),
    "no section": (b'oracle = "x"', "KPC__ORACLE"),
}


@pytest.mark.parametrize(("content", "reason"), FILES.values(), ids=list(FILES))
def test_a_named_file_that_cannot_be_used_is_refused(
    content: bytes | None, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content is not None:
        (tmp_path / "named.toml").write_bytes(content)
    monkeypatch.setenv("KPC_CONFIG", "named.toml")
    with pytest.raises(ConfigError) as refused:
        load_settings()
    assert reason in str(refused.value)
    assert "named.toml" in str(refused.value) or "is no setting" in str(refused.value) or "KPC__" in str(refused.value)


@pytest.mark.parametrize("place", ["folder", "broken link", "KPC_CONFIG names a folder", "a home that is not known"])
def test_what_stands_in_the_place_of_the_file_is_refused(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also without KPC_CONFIG: a kpc.toml that is there but cannot be read was meant."""
    if place == "folder":
        (tmp_path / "kpc.toml").mkdir()
    elif place == "broken link":
        (tmp_path / "kpc.toml").symlink_to("gone")
    else:
        monkeypatch.setenv("KPC_CONFIG", "/" if "folder" in place else "~nobody-has-this-name/kpc.toml")
    with pytest.raises(ConfigError, match=r"kpc\.toml|KPC_CONFIG"):
        load_settings()


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_a_file_in_utf8_is_read(mark: bytes, end: bytes, tmp_path: Path) -> None:
    (tmp_path / "kpc.toml").write_bytes(mark + end.join(['hash_key = "กุญแจ"'.encode(), b"[oracle]", b'user = "KPC"']))
    settings = load_settings()
    assert (settings.hash_key.get_secret_value(), settings.oracle.user) == ("กุญแจ", "KPC")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"], ids=["LF", "CRLF", "two"])
def test_line_ends_of_secret_stores_are_removed(end: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From every source alike: password, key, address, path, number and the name of the file."""
    (tmp_path / "named.toml").write_text('hash_key = """key\n"""\n[salesforce]\naccess_token = "token\\r\\n"\n')
    monkeypatch.setenv("KPC_CONFIG", f"named.toml{end}")
    for name, value in {"LEDGER_URL": "sqlite:///a.db", "STAGING__ROOT": "st", "ORACLE__SESSIONS": "2"}.items():
        monkeypatch.setenv(f"KPC__{name}", value + end)
    settings = load_settings(oracle={"password": f" pass word {end}"})
    assert settings.hash_key.get_secret_value() == "key"
    assert settings.salesforce.access_token.get_secret_value() == "token"
    assert settings.oracle.password.get_secret_value() == " pass word "
    assert settings.ledger_url.get_secret_value() == "sqlite:///a.db"
    assert (settings.staging.root, settings.oracle.sessions) == ("st", 2)


def test_an_empty_value_counts_as_not_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the environment, in the file and from Airflow's connections: the next source, or the default, applies."""
    (tmp_path / "kpc.toml").write_text('ledger_url = ""\n[oracle]\nuser = "from the file"\nca_file = ""\n')
    for name in ("ORACLE__USER", "ORACLE__CA_FILE", "LEASE_S", "STAGING__ROOT"):
        monkeypatch.setenv(f"KPC__{name}", "\n" if name == "LEASE_S" else "")
    settings = load_settings(oracle={"user": "", "dsn": "h:1/x"})
    assert (settings.oracle.user, settings.oracle.ca_file, settings.lease_s) == ("from the file", None, 120.0)
    assert settings.ledger_url.get_secret_value() == "sqlite:///.kpc/ledger.db"
    assert settings.staging.root == ".kpc/staging"


VALUES = {
    "a line end inside": ("HASH_KEY", "a\nb"),
    "quotation marks": ("ORACLE__DSN", '"h:1/x"'),
    "a control character": ("ORACLE__USER", "k\x1bpc"),
    "no number": ("LEASE_S", "nan"),
    "without end": ("LEASE_S", "inf"),
    "too much for a clock": ("ORACLE__CALL_TIMEOUT_S", "1e300"),
    "no truth": ("SALESFORCE__SHARED_USER", "maybe"),
    "a URL with one slash": ("STAGING__ROOT", "s3:/bucket"),
    "an unknown home": ("STAGING__ROOT", "~nobody-has-this-name/x"),
    "an unknown home of a file": ("SALESFORCE__PRIVATE_KEY_FILE", "~nobody-has-this-name/key.pem"),
}


@pytest.mark.parametrize(("name", "value"), VALUES.values(), ids=list(VALUES))
def test_a_value_that_cannot_be_meant_is_refused_by_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"KPC__{name}", value)
    with pytest.raises(ConfigError) as refused:
        load_settings()
    assert f"KPC__{name}" in str(refused.value)
    assert value not in str(refused.value)


def test_bytes_that_are_not_text_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KPC__HASH_KEY", os.fsdecode(b"caf\xe9"))
    with pytest.raises(ConfigError, match="value of KPC__HASH_KEY is not UTF-8"):
        load_settings()


def test_a_home_directory_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KPC__STAGING__ROOT", "~/staging ")
    monkeypatch.setenv("KPC__RECONCILE__DOCS_ROOT", "~/docs")
    settings = load_settings()
    assert (settings.staging.root, settings.reconcile.docs_root) == (f"{tmp_path}/staging", tmp_path / "docs")


def test_a_user_id_without_a_name_is_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers run with ids that the password database does not have; names are stored as one line of text."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(os, "getuid", lambda: 987_654_321)
    assert calling_user() == "uid-987654321"
    monkeypatch.setenv("USER", os.fsdecode(b"som\xe9one\n"))
    assert calling_user() == "somone"
