"""Logging in: client credentials, password, JWT, SOAP, and what a wrong login is told."""

from __future__ import annotations

import time
from typing import Any
from xml.etree import ElementTree

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from salesforce_emulator_process import EmulatorProcess, switch, token

pytestmark = pytest.mark.emulator_only


def works(emulator: EmulatorProcess, access_token: str) -> bool:
    headers = {"Authorization": f"Bearer {access_token}"}
    return (
        httpx.get(emulator.ready["base_url"] + emulator.url("limits"), headers=headers, timeout=60).status_code == 200
    )


def test_secrets_may_come_in_the_body_or_as_basic(emulator: EmulatorProcess) -> None:
    """The answer has every member that clients read."""
    ready = emulator.ready
    client = {"client_id": ready["client_id"], "client_secret": ready["client_secret"]}
    answer = token(emulator, grant_type="client_credentials", **client).json()
    assert {"access_token", "instance_url", "id", "token_type", "issued_at", "signature", "scope"} == set(answer)
    assert answer["id"].endswith(f"/id/{ready['org_id']}/{ready['user_id']}")
    assert works(emulator, answer["access_token"])
    basic = httpx.post(
        f"{ready['base_url']}/services/oauth2/token",
        data={"grant_type": "client_credentials"},
        auth=(ready["client_id"], ready["client_secret"]),
        timeout=60,
    )
    assert works(emulator, basic.json()["access_token"])


def test_a_password_gets_a_refresh_token_and_that_gets_more(emulator: EmulatorProcess) -> None:
    """The password works with the security token behind it, as Salesforce wants it."""
    ready = emulator.ready
    client = {"client_id": ready["client_id"], "client_secret": ready["client_secret"]}
    password = ready["password"] + ready["security_token"]
    first = token(emulator, grant_type="password", username=ready["username"], password=password, **client).json()
    more = token(emulator, grant_type="refresh_token", refresh_token=first["refresh_token"], **client).json()
    assert works(emulator, more["access_token"])
    assert "refresh_token" not in more


def assertion(emulator: EmulatorProcess, key: Any, **claims: object) -> str:
    ready = emulator.ready
    facts = {"iss": ready["client_id"], "sub": ready["username"], "aud": "https://login.salesforce.com"}
    return jwt.encode({**facts, "exp": int(time.time()) + 120, **claims}, key, algorithm="RS256")


@pytest.mark.parametrize(
    ("claims", "error"),
    [
        ({}, None),
        ({"exp": 1}, "invalid_grant"),
        ({"exp": "soon"}, "invalid_grant"),
        ({"exp": 1_900_000_000_300}, None),  # milliseconds, as Salesforce's own command line sends them
        ({"iss": "somebody"}, "invalid_client_id"),
        ({"sub": "somebody"}, "invalid_grant"),
        ({"aud": "https://test.salesforce.com/"}, None),
        ({"aud": "https://acme.my.salesforce.com"}, "invalid_grant"),
    ],
)
def test_a_jwt_is_checked(emulator: EmulatorProcess, claims: dict[str, object], error: str | None) -> None:
    """Who, for whom, until when."""
    key = open(emulator.ready["jwt_private_key_file"]).read()  # noqa: SIM115, PTH123  a few bytes
    grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    answer = token(emulator, grant_type=grant, assertion=assertion(emulator, key, **claims))
    assert (answer.status_code, answer.json().get("error")) == (400 if error else 200, error)


@pytest.mark.parametrize(
    ("kind", "audience", "is_valid"),
    [
        ("production", "https://login.salesforce.com", True),
        ("production", "https://test.salesforce.com", False),
        ("sandbox", "https://test.salesforce.com", True),
        ("sandbox", "https://login.salesforce.com", False),
        ("my_domain", "https://login.salesforce.com", False),
        ("my_domain", "", True),
    ],
)
def test_the_audience_of_a_jwt_is_the_log_in_host(
    switched: EmulatorProcess, kind: str, audience: str, is_valid: bool
) -> None:
    """A My Domain address is refused unless the org is switched to demand it."""
    switch(switched, jwt_audience=kind)
    key = open(switched.ready["jwt_private_key_file"]).read()  # noqa: SIM115, PTH123  a few bytes
    claim = assertion(switched, key, aud=audience or switched.ready["base_url"])
    answer = token(switched, grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer", assertion=claim)
    assert answer.status_code == (200 if is_valid else 400)
    assert is_valid or answer.json()["error_description"] == "audience is invalid"


def test_a_jwt_signed_by_another_key_is_refused(emulator: EmulatorProcess) -> None:
    """And so is one without a signature."""
    grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for text in (assertion(emulator, other), "a.b.c", ""):
        assert token(emulator, grant_type=grant, assertion=text).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "client_credentials", "client_id": "no", "client_secret": "no"}, "invalid_client_id"),
        ({"grant_type": "magic"}, "unsupported_grant_type"),
        ({}, "unsupported_grant_type"),
    ],
)
def test_wrong_logins_get_oauths_own_error(emulator: EmulatorProcess, form: dict[str, str], error: str) -> None:
    """Not the REST API's list."""
    answer = token(emulator, **form)
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert answer.json()["error_description"]


def test_soap_login(emulator: EmulatorProcess) -> None:
    """A session id and the server's address; a wrong password is a SOAP fault."""
    ready = emulator.ready
    envelope = (
        '<env:Envelope xmlns:env="http://schemas.xmlsoap.org/soap/envelope/"><env:Body>'
        '<n1:login xmlns:n1="urn:partner.soap.sforce.com"><n1:username>{}</n1:username>'
        "<n1:password>{}</n1:password></n1:login></env:Body></env:Envelope>"
    )
    url, headers = f"{ready['base_url']}/services/Soap/u/62.0", {"content-type": "text/xml", "SOAPAction": "login"}
    good = httpx.post(url, content=envelope.format(ready["username"], ready["password"]), headers=headers, timeout=60)
    session = good.text.partition("<sessionId>")[2].partition("</sessionId>")[0]
    assert works(emulator, session)
    assert f"<serverUrl>{ready['base_url']}/services/Soap/u/62.0/" in good.text
    bad = httpx.post(url, content=envelope.format(ready["username"], "wrong"), headers=headers, timeout=60)
    assert (bad.status_code, "<sf:exceptionCode>INVALID_LOGIN<" in bad.text) == (500, True)
    assert "<soapenv:Fault>" in httpx.post(url, content="<open", headers=headers, timeout=60).text
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>'
    assert "<soapenv:Fault>" in httpx.post(url, content=bomb, headers=headers, timeout=60).text
    asked = "<e><h><sessionId>{}</sessionId></h><b><getUserInfo/></b></e>"
    told = httpx.post(url, content=asked.format(session), headers=headers, timeout=60).text
    assert f"<userId>{ready['user_id']}</userId>" in told
    assert "INVALID_SESSION_ID" in httpx.post(url, content=asked.format("x"), headers=headers, timeout=60).text


@pytest.mark.parametrize(("kind", "api"), [("u", "partner"), ("c", "enterprise")])
def test_typed_soap_clients_find_every_element_of_the_user(emulator: EmulatorProcess, kind: str, api: str) -> None:
    """In the API's own namespace, in the WSDL's order; what is null is there as nil."""
    ready = emulator.ready
    url = f"{ready['base_url']}/services/Soap/{kind}/62.0"
    content = f"<e><login><username>{ready['username']}</username><password>{ready['password']}</password></login></e>"
    answered = httpx.post(url, content=content, headers={"content-type": "text/xml"}, timeout=60).text
    root = ElementTree.fromstring(answered)  # noqa: S314  written by our own emulator
    namespace = f"{{urn:{api}.soap.sforce.com}}"
    [user] = root.iter(f"{namespace}userInfo")
    names = [each.tag.removeprefix(namespace) for each in user]
    assert (len(names), names[0], names[-1]) == (24, "accessibilityMode", "userUiSkin")
    assert user.findtext(f"{namespace}userId") == ready["user_id"]
    [role] = user.iter(f"{namespace}roleId")
    assert list(role.attrib.values()) == ["true"]
    server = next(root.iter(f"{namespace}serverUrl")).text
    assert server == f"{url}/{ready['org_id'][:15]}"
    assert "INVALID_SESSION_ID" in httpx.post(server, content="<e><getUserInfo/></e>", timeout=60).text


def test_without_a_session_nothing_is_told(emulator: EmulatorProcess) -> None:
    """401 INVALID_SESSION_ID; only the list of versions is public."""
    base = emulator.ready["base_url"]
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        answer = httpx.get(base + emulator.url("limits"), headers=headers, timeout=60)
        assert (answer.status_code, answer.json()[0]["errorCode"]) == (401, "INVALID_SESSION_ID")
    assert httpx.get(f"{base}/services/data", timeout=60).json()[-1]["version"]
    assert (
        httpx.get(f"{base}/services/oauth2/userinfo", headers={"Authorization": "Bearer no"}, timeout=60).status_code
        == 401
    )


# Faults
