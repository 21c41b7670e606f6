"""Who the user of a session is: userinfo, which OpenID knows, and Salesforce's identity URL."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from kpc.emulators.salesforce.app import org_of, user_of
from kpc.emulators.salesforce.errors import ApiError
from kpc.emulators.salesforce.http.wire import Json, base_url
from kpc.emulators.salesforce.org.clock import iso_offset


async def user_info(request: Request) -> Response:
    """GET /services/oauth2/userinfo, the first call of Salesforce's own command line."""
    org = org_of(request)
    identity, base = org.identity, base_url(request)
    user = org.access.users[user_of(request)]
    return Json(
        {
            "sub": f"{base}/id/{identity.org_id}/{user.user_id}",
            "user_id": user.user_id,
            "organization_id": identity.org_id,
            "preferred_username": user.username,
            "nickname": "emulator",
            "name": "Integration Emulator",
            "email": user.username,
            "email_verified": True,
            "given_name": "Integration",
            "family_name": "Emulator",
            "zoneinfo": "Asia/Bangkok",
            "user_type": "STANDARD",
            "language": "en_US",
            "locale": "en_US",
            "utcOffset": 25200000,
            "active": True,
            "urls": _urls(base, identity.org_id),
        }
    )


async def identity(request: Request) -> Response:
    """GET /id/ORG/USER."""
    org = org_of(request)
    known, base = org.identity, base_url(request)
    wanted = (request.path_params["org"][:15], request.path_params["user"][:15])
    user = org.access.users[user_of(request)]
    if wanted != (known.org_id[:15], user.user_id[:15]):
        raise ApiError(403, "Bad_OAuth_Token", "The identity is not of this org")
    return Json(
        {
            "id": f"{base}/id/{known.org_id}/{user.user_id}",
            "asserted_user": True,
            "user_id": user.user_id,
            "organization_id": known.org_id,
            "username": user.username,
            "nick_name": "emulator",
            "display_name": "Integration Emulator",
            "email": user.username,
            "first_name": "Integration",
            "last_name": "Emulator",
            "timezone": "Asia/Bangkok",
            "active": True,
            "user_type": "STANDARD",
            "language": "en_US",
            "locale": "en_US",
            "utcOffset": 25200000,
            "last_modified_date": iso_offset(org.clock.now()),
            "urls": _urls(base, known.org_id),
        }
    )


def _urls(base: str, org_id: str) -> dict[str, str]:
    data = f"{base}/services/data/v{{version}}/"
    return {
        "enterprise": f"{base}/services/Soap/c/{{version}}/{org_id[:15]}",
        "partner": f"{base}/services/Soap/u/{{version}}/{org_id[:15]}",
        "rest": data,
        "sobjects": f"{data}sobjects/",
        "search": f"{data}search/",
        "query": f"{data}query/",
    }
