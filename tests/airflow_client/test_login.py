"""Logging in to Airflow: by user and password or by a ready-made token, renewed when Airflow refuses it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from misbehaving_server import MisbehavingServer, misbehaving_server
from pydantic import SecretStr

from kpc.airflow_client.api import AirflowApi
from kpc.airflow_client.session import AirflowLogin
from kpc.errors import ConfigError

pytestmark = pytest.mark.usefixtures("quick_retries")

OPERATOR = AirflowLogin("operator", SecretStr("a password"))
READY_MADE = AirflowLogin(token=SecretStr("ready-made"))
BOTH = AirflowLogin("operator", SecretStr("a password"), SecretStr("ready-made"))
POOLS = {"pools": [], "total_entries": 0}
EXPIRED = ({"detail": "Token Expired"}, 401)
FOREIGN = ({"detail": "Invalid JWT token"}, 403)  # the API server was restarted with another secret


@pytest.fixture
def server() -> Iterator[MisbehavingServer]:
    with misbehaving_server() as running:
        running.plan("POST /auth/token", {"access_token": "fresh"}, 201)
        running.plan("GET /api/v2/pools", POOLS)
        yield running


def tokens(server: MisbehavingServer) -> list[str]:
    """The tokens that the API was asked with."""
    return [headers["authorization"] for request, headers in server.received if "/api/v2/" in request]


@pytest.mark.parametrize(("login", "token"), [(OPERATOR, "fresh"), (READY_MADE, "ready-made"), (BOTH, "ready-made")])
def test_a_session_logs_in_once(server: MisbehavingServer, login: AirflowLogin, token: str) -> None:
    """A ready-made token is used as it is; without one, a user gets one token for all requests."""
    with AirflowApi(server.url, login) as api:
        api.pools()
        api.pools()
    assert tokens(server) == [f"Bearer {token}"] * 2
    assert server.asked.count("POST /auth/token") == (token == "fresh")


@pytest.mark.parametrize("refusal", [EXPIRED, FOREIGN], ids=["expired", "foreign"])
@pytest.mark.parametrize("login", [OPERATOR, BOTH], ids=["user", "token and user"])
def test_a_refused_token_is_renewed(
    server: MisbehavingServer, login: AirflowLogin, refusal: tuple[dict[str, str], int]
) -> None:
    """An old token costs one log-in, and the caller does not notice."""
    server.plan("GET /api/v2/pools", *refusal, times=1)
    with AirflowApi(server.url, login) as api:
        assert api.pools() == {}
    assert tokens(server)[-1] == "Bearer fresh"


def test_a_refused_ready_made_token_names_its_setting(server: MisbehavingServer) -> None:
    """Nothing can renew it but the person who set it."""
    server.plan("GET /api/v2/pools", *EXPIRED)
    with AirflowApi(server.url, READY_MADE) as api, pytest.raises(ConfigError, match="Token Expired") as caught:
        api.pools()
    assert "KPC__AIRFLOW_TOKEN" in str(caught.value)
    assert "ready-made" not in str(caught.value)


@pytest.mark.parametrize(
    ("login", "answer", "status", "words"),
    [
        (OPERATOR, {"detail": "Invalid credentials"}, 401, ("'operator'", "Invalid credentials", "KPC__AIRFLOW_USER")),
        (OPERATOR, {"detail": "Not Found"}, 404, ("no tokens for user names", "KPC__AIRFLOW_TOKEN")),
        (AirflowLogin(), {"detail": "not allowed"}, 403, ("wants a log-in", "KPC__AIRFLOW_USER", "KPC__AIRFLOW_TOKEN")),
        (AirflowLogin(), {"detail": "Method Not Allowed"}, 405, ("wants a log-in",)),
    ],
    ids=["wrong password", "auth manager without tokens", "nothing set", "nothing set, FAB"],
)
def test_a_refused_log_in_is_one_sentence(
    server: MisbehavingServer, login: AirflowLogin, answer: dict[str, str], status: int, words: tuple[str, ...]
) -> None:
    """It names the user or the settings, never the password."""
    server.plan("/auth/token", answer, status)
    with AirflowApi(server.url, login) as api, pytest.raises(ConfigError) as caught:
        api.pools()
    assert all(word in str(caught.value) for word in words)
    assert "a password" not in str(caught.value)


def test_a_role_that_may_not_is_named(server: MisbehavingServer) -> None:
    """A viewer who triggers a run reads whom to log in as; no second log-in is tried."""
    server.plan("POST /api/v2/dags", {"detail": "Forbidden"}, 403)
    with AirflowApi(server.url, OPERATOR) as api, pytest.raises(ConfigError, match="does not allow this user"):
        api.trigger("d")
    assert server.asked.count("POST /auth/token") == 1
