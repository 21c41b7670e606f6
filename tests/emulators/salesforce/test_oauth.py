"""The OAuth flows that begin in a browser or on a device, and what is asked about a token."""

from __future__ import annotations

import base64
import hashlib
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from salesforce_emulator_process import EmulatorProcess

pytestmark = pytest.mark.emulator_only

BACK = "http://localhost:1717/OauthRedirect"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


def post(emulator: EmulatorProcess, what: str, **form: str) -> httpx.Response:
    form = {"client_id": emulator.ready["client_id"], "client_secret": emulator.ready["client_secret"], **form}
    return httpx.post(f"{emulator.ready['base_url']}/services/oauth2/{what}", data=form, timeout=60)


def authorize(emulator: EmulatorProcess, **parameters: str) -> httpx.Response:
    """What a browser gets, before it follows."""
    parameters = {"client_id": emulator.ready["client_id"], "redirect_uri": BACK, **parameters}
    return httpx.get(f"{emulator.ready['base_url']}/services/oauth2/authorize", params=parameters, timeout=60)


def sent_back(answer: httpx.Response) -> dict[str, str]:
    """The parameters with which the browser is sent back to the client."""
    assert answer.status_code == 302, answer.text
    place = urlsplit(answer.headers["location"])
    assert f"{place.scheme}://{place.netloc}{place.path}" == BACK
    return {name: values[0] for name, values in parse_qs(place.query or place.fragment).items()}


def code_of(emulator: EmulatorProcess, **parameters: str) -> str:
    return sent_back(authorize(emulator, response_type="code", **parameters))["code"]


def works(emulator: EmulatorProcess, session: dict[str, Any]) -> bool:
    answer = httpx.get(session["id"], headers={"Authorization": f"Bearer {session['access_token']}"}, timeout=60)
    return answer.status_code == 200 and bool(answer.json()["user_id"] == emulator.ready["user_id"])


def test_a_browser_is_sent_back_with_a_code_that_works_once(emulator: EmulatorProcess) -> None:
    """The web server flow, and the refresh token that it gives."""
    answer = sent_back(authorize(emulator, response_type="code", state="a b&c", scope="api refresh_token"))
    assert answer["state"] == "a b&c"
    grant = {"grant_type": "authorization_code", "code": answer["code"], "redirect_uri": BACK}
    session = post(emulator, "token", **grant).json()
    assert works(emulator, session)
    assert post(emulator, "token", **grant).json()["error"] == "invalid_grant"
    again = post(emulator, "token", grant_type="refresh_token", refresh_token=session["refresh_token"]).json()
    assert works(emulator, again)


def test_pkce_takes_the_place_of_the_secret(emulator: EmulatorProcess) -> None:
    """A public client proves itself by its verifier; another verifier, or none, gets nothing."""
    pkce = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    grant = {"grant_type": "authorization_code", "redirect_uri": BACK, "client_secret": ""}
    good = post(emulator, "token", code=code_of(emulator, **pkce), code_verifier=VERIFIER, **grant)
    assert works(emulator, good.json())
    wrong = post(emulator, "token", code=code_of(emulator, **pkce), code_verifier="w" * 43, **grant)
    assert wrong.json() == {"error": "invalid_grant", "error_description": "invalid code verifier"}
    grant["client_secret"] = emulator.ready["client_secret"]
    assert post(emulator, "token", code=code_of(emulator, **pkce), **grant).json()["error"] == "invalid_grant"


def test_a_code_is_for_the_address_that_it_was_sent_to(emulator: EmulatorProcess) -> None:
    """Another redirect_uri is a mismatch; a code of yesterday is none."""
    grant = {"grant_type": "authorization_code", "code": code_of(emulator), "redirect_uri": "http://localhost/other"}
    assert post(emulator, "token", **grant).json()["error"] == "redirect_uri_mismatch"
    grant |= {"code": code_of(emulator), "redirect_uri": BACK}
    emulator.client.post("/_emulator/clock", json={"advance_s": 901})
    assert post(emulator, "token", **grant).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"client_id": "no"}, "invalid_client_id"),
        ({"redirect_uri": ""}, "redirect_uri_mismatch"),
        ({"redirect_uri": "javascript:alert(1)"}, "redirect_uri_mismatch"),
        ({"redirect_uri": "http://localhost/\r\nx: y"}, "redirect_uri_mismatch"),
        ({"redirect_uri": "http://[::1"}, "redirect_uri_mismatch"),
        ({"redirect_uri": "http://localhost/ร"}, "redirect_uri_mismatch"),
    ],
)
def test_a_browser_of_a_stranger_is_sent_nowhere(
    emulator: EmulatorProcess, parameters: dict[str, str], error: str
) -> None:
    """The error is shown in place."""
    answer = authorize(emulator, response_type="code", **parameters)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


def test_an_unknown_response_type_is_told_to_the_client(emulator: EmulatorProcess) -> None:
    """As the specification wants it: in the address that the browser is sent to."""
    assert sent_back(authorize(emulator, response_type="magic"))["error"] == "unsupported_response_type"


def test_the_user_agent_flow_brings_the_session_itself(emulator: EmulatorProcess) -> None:
    """In the fragment, which no server sees."""
    answer = authorize(emulator, response_type="token")
    assert "?" not in answer.headers["location"]
    assert works(emulator, sent_back(answer))


def test_a_device_gets_its_session_by_its_code(emulator: EmulatorProcess) -> None:
    """The device flow; the approval is the emulator's own."""
    device = post(emulator, "token", response_type="device_code", scope="api").json()
    assert {"device_code", "user_code", "verification_uri", "interval"} <= device.keys()
    grant = {"grant_type": "device", "code": device["device_code"], "client_secret": ""}
    assert works(emulator, post(emulator, "token", **grant).json())
    assert post(emulator, "token", **grant).json()["error"] == "invalid_grant"


def test_introspection_tells_a_good_token_from_a_revoked_one(emulator: EmulatorProcess) -> None:
    """Access and refresh tokens; nobody learns anything without the client's secret."""
    grant = {"grant_type": "authorization_code", "code": code_of(emulator), "redirect_uri": BACK}
    session = post(emulator, "token", **grant).json()
    told = post(emulator, "introspect", token=session["access_token"]).json()
    assert (told["active"], told["username"], told["token_type"]) == (True, emulator.ready["username"], "access_token")
    assert told["exp"] > told["iat"]
    assert post(emulator, "introspect", token=session["refresh_token"]).json()["token_type"] == "refresh_token"
    for token in (session["access_token"], session["refresh_token"]):
        assert post(emulator, "revoke", token=token).status_code == 200
        assert post(emulator, "introspect", token=token).json() == {"active": False}
    assert post(emulator, "introspect", token="x", client_secret="no").status_code == 401


def test_the_token_address_wants_a_post(emulator: EmulatorProcess) -> None:
    """In OAuth's form, which is not that of the REST API."""
    answer = httpx.get(f"{emulator.ready['base_url']}/services/oauth2/token", timeout=60)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
