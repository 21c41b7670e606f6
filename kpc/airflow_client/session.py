"""Authenticated requests to one Airflow's API server.

Every auth manager that hands out tokens does so at the same place: `POST /auth/token` with a user name and a password
(simple, FAB, Keycloak). The simple auth manager in its mode without log-in answers `GET /auth/token`. With any other
auth manager, a token that was made elsewhere is sent as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeVar

import httpx
from pydantic import SecretStr

from kpc.airflow_client.answers import TokenAnswer, decoded, refusal, refused_detail
from kpc.bounded_body import BodyRefused, with_body
from kpc.errors import AirflowDown, AirflowNotReached, ConfigError, UnusableAnswer
from kpc.http_client import client_for, is_address

_TIMEOUT_S = 30.0
_MOST_BYTES = 64_000_000  # of one answer; a task's log is the largest
_LONGEST_S = 300.0
_TOKEN = "auth/token"  # noqa: S105  a path
_INVALID_TOKEN = "Invalid JWT token"  # noqa: S105  Airflow's answer when its secret is another than the token's

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AirflowLogin:
    """How to authenticate: by `user` and `password`, or by a ready-made `token`; all empty: without log-in."""

    user: str = ""
    password: SecretStr = field(default_factory=lambda: SecretStr(""))
    token: SecretStr = field(default_factory=lambda: SecretStr(""))


class AirflowSession:
    """Sends requests with a token, which it renews when Airflow refuses it. Raises as `AirflowApi` does."""

    def __init__(self, url: str, login: AirflowLogin, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url.rstrip("/")
        if not is_address(self.url):
            raise ConfigError(
                f"KPC__AIRFLOW_URL is not an address: {self.url!r}.", "Set it like http://127.0.0.1:8080."
            )
        self._login = login
        if transport is None:
            self._http = client_for(self.url, base_url=self.url, timeout=_TIMEOUT_S)
        else:  # within Airflow's own process
            self._http = httpx.Client(transport=transport, base_url=self.url)
        self._is_logged_in = False
        self._has_answered = False

    def close(self) -> None:
        self._http.close()

    def ask(self, shape: type[T], method: str, path: str, *, json: Any = None, params: Any = None) -> T:
        """The answer of `/api/v2/{path}`, decoded as `shape`."""
        if not self._is_logged_in:
            self._use(self._login.token.get_secret_value() or self._new_token())
        answer = self.send(method, f"/api/v2/{path}", json=json, params=params)
        if _refuses_token(answer):  # it has expired, or the API server has another secret since a restart
            self._use(self._renewed(answer))
            answer = self.send(method, f"/api/v2/{path}", json=json, params=params)
        if answer.is_success:
            return decoded(answer, shape, path)
        raise refusal(answer, path)

    def send(self, method: str, path: str, *, json: Any = None, params: Any = None) -> httpx.Response:
        request = self._http.build_request(method, path, json=json, params=params)
        try:
            answer = self._http.send(request, stream=True)
            self._has_answered = True
            return with_body(answer, most_bytes=_MOST_BYTES, longest_s=_LONGEST_S)
        except httpx.TransportError as error:
            down = AirflowDown if self._has_answered else AirflowNotReached
            raise down(
                f"Airflow at {self.url} does not answer ({error or type(error).__name__}).",
                "Start it (`kpc demo` does), or set KPC__AIRFLOW_URL to its address.",
            ) from error
        except BodyRefused as refused:
            raise UnusableAnswer(f"Airflow's answer to {path} cannot be used: it {refused}.", "Try again.") from None

    def _use(self, token: str) -> None:
        self._http.headers["Authorization"] = f"Bearer {token}"
        self._is_logged_in = True

    def _renewed(self, refused: httpx.Response) -> str:
        if self._login.user or not self._login.token.get_secret_value():
            return self._new_token()
        raise ConfigError(
            f"Airflow at {self.url} refuses the token of KPC__AIRFLOW_TOKEN: {refused_detail(refused)}.",
            "Set it to a new token, or set KPC__AIRFLOW_USER and KPC__AIRFLOW_PASSWORD instead.",
        )

    def _new_token(self) -> str:
        user = self._login.user
        if user:
            body = {"username": user, "password": self._login.password.get_secret_value()}
            answer = self.send("POST", f"/{_TOKEN}", json=body)
        else:
            answer = self.send("GET", f"/{_TOKEN}")
        if answer.is_success:
            return decoded(answer, TokenAnswer, _TOKEN).access_token
        if answer.is_server_error or answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            raise refusal(answer, _TOKEN)
        if not user:
            raise ConfigError(
                f"Airflow at {self.url} wants a log-in (HTTP {answer.status_code}).",
                "Set KPC__AIRFLOW_USER and KPC__AIRFLOW_PASSWORD, or KPC__AIRFLOW_TOKEN.",
            )
        if answer.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
            raise ConfigError(
                f"Airflow at {self.url} hands out no tokens for user names (HTTP {answer.status_code} from /{_TOKEN}).",
                "Set KPC__AIRFLOW_TOKEN to a token that its auth manager made.",
            )
        raise ConfigError(
            f"Airflow at {self.url} refuses the user {user!r}: {refused_detail(answer)} (HTTP {answer.status_code}).",
            "Set KPC__AIRFLOW_USER and KPC__AIRFLOW_PASSWORD.",
        )


def _refuses_token(answer: httpx.Response) -> bool:
    if answer.status_code == HTTPStatus.FORBIDDEN:
        return refused_detail(answer) == _INVALID_TOKEN
    return answer.status_code == HTTPStatus.UNAUTHORIZED
