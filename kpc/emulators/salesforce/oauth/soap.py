"""The SOAP login call, from which older clients and Data Loader get a session id."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from kpc.emulators.salesforce.app import access_tokens_of, org_of
from kpc.emulators.salesforce.errors import ApiError
from kpc.emulators.salesforce.http.wire import base_url, read_body
from kpc.emulators.salesforce.oauth.token_endpoint import user_with_password
from kpc.emulators.salesforce.oauth.tokens import Tokens
from kpc.emulators.salesforce.org.org import PROFILE_ID, TIME_ZONE, Org

_ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"'
    ' xmlns="urn:{api}.soap.sforce.com" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    ' xmlns:sf="urn:fault.{api}.soap.sforce.com"><soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>'
)
_APIS = {"u": "partner", "c": "enterprise"}


@dataclass(frozen=True, slots=True)
class _Address:
    """Where a client has called: the emulator's own address, and `u` or `c` with the version (`u/62.0`)."""

    base: str
    path: str


async def login(request: Request) -> Response:
    """POST /services/Soap/u/VERSION or c/VERSION: what clients call around a login; nothing else of the SOAP API."""
    org, tokens = org_of(request), access_tokens_of(request)
    body = await read_body(request)
    kind = request.url.path.split("/")[3]
    address = f"{kind}/{request.path_params['version']}"
    text, status = await run_in_threadpool(_call, org, tokens, _Address(base_url(request), address), body)
    envelope = _ENVELOPE.replace("{api}", _APIS[kind]).replace("{body}", text)
    return Response(envelope, status, media_type="text/xml")


def _call(org: Org, tokens: Tokens, address: _Address, body: bytes) -> tuple[str, int]:
    """The body of the answer, and its HTTP status."""
    try:
        return _result(org, tokens, address, element_texts(body)), 200
    except ApiError as error:
        return _fault(error.code, error.message), 500


def element_texts(body: bytes) -> dict[str, str]:
    """The text of every element, by its name without namespace."""
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:  # entities can exhaust a parser's memory
        raise ApiError(400, "INVALID_SOAP_HEADER", "A document type is not allowed")
    try:
        root = ElementTree.fromstring(body)  # noqa: S314  documents with entities were refused above
    except ElementTree.ParseError as error:
        raise ApiError(400, "UNKNOWN_EXCEPTION", f"The request is not XML: {error}") from error
    return {each.tag.rpartition("}")[2]: each.text or "" for each in root.iter()}


def _result(org: Org, tokens: Tokens, address: _Address, texts: dict[str, str]) -> str:
    """What the call answers. Raises `ApiError` for one that is refused."""
    if "login" in texts:
        user_id = user_with_password(org, texts.get("username", ""), texts.get("password", ""))
        if user_id is None:
            raise ApiError(400, "INVALID_LOGIN", "Invalid username, password, security token; or user locked out.")
        return _login_result(org, tokens, address, user_id)
    session = texts.get("sessionId", "")
    user_id = tokens.check(session).user_id
    if "getUserInfo" in texts:
        return f"<getUserInfoResponse><result>{_user_info(org, user_id)}</result></getUserInfoResponse>"
    if "getServerTimestamp" in texts:
        now = org.clock.now().strftime("%Y-%m-%dT%H:%M:%S.000Z")
        result = f"<result><timestamp>{now}</timestamp></result>"
        return f"<getServerTimestampResponse>{result}</getServerTimestampResponse>"
    if "logout" in texts:
        tokens.revoke(session)
        return "<logoutResponse/>"
    known = "login, logout, getUserInfo and getServerTimestamp"
    raise ApiError(400, "INVALID_OPERATION", f"The emulator's SOAP API knows {known}")


def _login_result(org: Org, tokens: Tokens, address: _Address, user_id: str) -> str:
    known = org.identity
    server = escape(f"{address.base}/services/Soap/{address.path}/{known.org_id[:15]}")
    metadata = escape(f"{address.base}/services/Soap/m/{address.path[2:]}/{known.org_id[:15]}")
    return (
        f"<loginResponse><result><metadataServerUrl>{metadata}</metadataServerUrl>"
        f"<passwordExpired>false</passwordExpired><sandbox>false</sandbox><serverUrl>{server}</serverUrl>"
        f"<sessionId>{tokens.issue(user_id)}</sessionId><userId>{user_id}</userId>"
        f"<userInfo>{_user_info(org, user_id)}</userInfo></result></loginResponse>"
    )


def _user_info(org: Org, user_id: str) -> str:
    """All elements of GetUserInfoResult, in the order of the WSDL: typed clients miss any that is not there."""
    known, user = org.identity, org.access.users[user_id]
    info: dict[str, str | None] = {
        "accessibilityMode": "false",
        "chatterExternal": "false",
        "currencySymbol": "$",
        "orgAttachmentFileSizeLimit": "5242880",
        "orgDefaultCurrencyIsoCode": "USD",
        "orgDefaultCurrencyLocale": "en_US",
        "orgDisallowHtmlAttachments": "false",
        "orgHasPersonAccounts": "false",
        "organizationId": known.org_id,
        "organizationMultiCurrency": "false",
        "organizationName": "Salesforce emulator",
        "profileId": PROFILE_ID,
        "roleId": None,
        "sessionSecondsValid": str(int(org.switches.token_lifetime_s)),
        "userDefaultCurrencyIsoCode": None,
        "userEmail": user.username,
        "userFullName": "Integration Emulator",
        "userId": user_id,
        "userLanguage": "en_US",
        "userLocale": "en_US",
        "userName": user.username,
        "userTimeZone": TIME_ZONE,
        "userType": "Standard",
        "userUiSkin": "Theme3",
    }
    return "".join(_element(name, value) for name, value in info.items())


def _element(name: str, value: str | None) -> str:
    return f'<{name} xsi:nil="true"/>' if value is None else f"<{name}>{escape(value)}</{name}>"


def _fault(code: str, message: str) -> str:
    text = escape(message)
    detail = (
        f"<sf:LoginFault><sf:exceptionCode>{code}</sf:exceptionCode>"
        f"<sf:exceptionMessage>{text}</sf:exceptionMessage></sf:LoginFault>"
    )
    return (
        f"<soapenv:Fault><faultcode>sf:{code}</faultcode><faultstring>{code}: {text}</faultstring>"
        f"<detail>{detail}</detail></soapenv:Fault>"
    )
