"""The SOAP login call, of which older clients and Data Loader want a session id."""

from __future__ import annotations

from xml.etree import ElementTree
from xml.sax.saxutils import escape

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from kpc.emulators.salesforce.api_error import ApiError
from kpc.emulators.salesforce.app import Emulator
from kpc.emulators.salesforce.oauth import base_url, password_matches
from kpc.emulators.salesforce.org import TIME_ZONE
from kpc.emulators.salesforce.wire import emulator_of, read_body

_ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"'
    ' xmlns="urn:partner.soap.sforce.com" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    ' xmlns:sf="urn:fault.partner.soap.sforce.com"><soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>'
)


async def login(request: Request) -> Response:
    """POST /services/Soap/u/VERSION: what clients call around a login; nothing else of the SOAP API."""
    emulator = emulator_of(request)
    body = await read_body(request)
    return await run_in_threadpool(_call, emulator, base_url(request), request.path_params["version"], body)


def _call(emulator: Emulator, base: str, version: str, body: bytes) -> Response:
    try:
        return _answer(_result(emulator, base, version, element_texts(body)))
    except ApiError as error:
        return _fault(error.code, error.message)


def element_texts(body: bytes) -> dict[str, str]:
    """The text of every element, by its name without namespace."""
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:  # no entities: they can blow a parser up
        raise ApiError(400, "INVALID_SOAP_HEADER", "A document type is not allowed")
    try:
        root = ElementTree.fromstring(body)  # noqa: S314  documents with entities were refused above
    except ElementTree.ParseError as error:
        raise ApiError(400, "UNKNOWN_EXCEPTION", f"The request is not XML: {error}") from error
    return {each.tag.rpartition("}")[2]: each.text or "" for each in root.iter()}


def _result(emulator: Emulator, base: str, version: str, texts: dict[str, str]) -> str:
    """What the call answers. Raises `ApiError` for one that is refused."""
    if "login" in texts:
        if not password_matches(emulator.org, texts.get("username", ""), texts.get("password", "")):
            raise ApiError(400, "INVALID_LOGIN", "Invalid username, password, security token; or user locked out.")
        return _login_result(emulator, base, version)
    session = texts.get("sessionId", "")
    emulator.tokens.check(session)
    if "getUserInfo" in texts:
        return f"<getUserInfoResponse><result>{_user_info(emulator)}</result></getUserInfoResponse>"
    if "getServerTimestamp" in texts:
        now = emulator.org.clock.now().strftime("%Y-%m-%dT%H:%M:%S.000Z")
        result = f"<result><timestamp>{now}</timestamp></result>"
        return f"<getServerTimestampResponse>{result}</getServerTimestampResponse>"
    if "logout" in texts:
        emulator.tokens.revoke(session)
        return "<logoutResponse/>"
    known = "login, logout, getUserInfo and getServerTimestamp"
    raise ApiError(400, "INVALID_OPERATION", f"The emulator's SOAP API knows {known}")


def _login_result(emulator: Emulator, base: str, version: str) -> str:
    known = emulator.org.identity
    server = escape(f"{base}/services/Soap/u/{version}/{known.org_id[:15]}")
    metadata = escape(f"{base}/services/Soap/m/{version}/{known.org_id[:15]}")
    return (
        f"<loginResponse><result><metadataServerUrl>{metadata}</metadataServerUrl>"
        f"<passwordExpired>false</passwordExpired><sandbox>false</sandbox><serverUrl>{server}</serverUrl>"
        f"<sessionId>{emulator.tokens.issue()}</sessionId><userId>{known.user_id}</userId>"
        f"<userInfo>{_user_info(emulator)}</userInfo></result></loginResponse>"
    )


def _user_info(emulator: Emulator) -> str:
    known = emulator.org.identity
    info = {
        "organizationId": known.org_id,
        "organizationName": "Salesforce emulator",
        "sessionSecondsValid": str(int(emulator.org.switches.token_lifetime_s)),
        "userEmail": known.username,
        "userFullName": "Integration Emulator",
        "userId": known.user_id,
        "userLanguage": "en_US",
        "userLocale": "en_US",
        "userName": known.username,
        "userTimeZone": TIME_ZONE,
        "userType": "Standard",
    }
    return "".join(f"<{name}>{escape(value)}</{name}>" for name, value in info.items())


def _answer(body: str, status: int = 200) -> Response:
    return Response(_ENVELOPE.replace("{body}", body), status, media_type="text/xml")


def _fault(code: str, message: str) -> Response:
    text = escape(message)
    detail = (
        f"<sf:LoginFault><sf:exceptionCode>{code}</sf:exceptionCode>"
        f"<sf:exceptionMessage>{text}</sf:exceptionMessage></sf:LoginFault>"
    )
    body = (
        f"<soapenv:Fault><faultcode>sf:{code}</faultcode><faultstring>{code}: {text}</faultstring>"
        f"<detail>{detail}</detail></soapenv:Fault>"
    )
    return _answer(body, 500)
