"""The admin endpoints for what an administrator does in Setup: users and permissions, sharing, rules, storage."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from kpc.emulators.errors import OptionError
from kpc.emulators.salesforce.app import access_tokens_of, org_of
from kpc.emulators.salesforce.errors import ApiError
from kpc.emulators.salesforce.http.wire import Json, read_object, text_of
from kpc.emulators.salesforce.org.access import OrgUser


async def show_setup(request: Request) -> Response:
    """GET /_emulator/setup."""
    return Json(org_of(request).access.setup.as_dict())


async def change_setup(request: Request) -> Response:
    """PATCH /_emulator/setup {NAME: VALUE}: what is named replaces what was there; see org/setup.py."""
    org, body = org_of(request), await read_object(request)
    try:
        return Json(await run_in_threadpool(org.change_setup, body))
    except OptionError as error:
        raise ApiError(400, "BAD_SETUP", str(error)) from error


async def show_users(request: Request) -> Response:
    """GET /_emulator/users: every user with his permissions."""
    return Json([_facts(each) for each in org_of(request).access.users.values()])


async def keep_user(request: Request) -> Response:
    """POST /_emulator/users {"username": ..., "permissions": {...}}: make a user, or change the permissions of one.

    Answers how to log in; see org/permissions.py.
    """
    org, body = org_of(request), await read_object(request)
    permissions = body.get("permissions", {})
    if not isinstance(permissions, dict) or set(body) - {"username", "permissions"}:
        raise ApiError(400, "BAD_USER", "A user has a username and an object permissions")
    try:
        user = await run_in_threadpool(org.keep_user, text_of(body, "username"), permissions)
    except OptionError as error:
        raise ApiError(400, "BAD_USER", str(error)) from error
    token = access_tokens_of(request).issue(user.user_id)
    return Json(_facts(user) | {"password": user.password, "access_token": token})


def _facts(user: OrgUser) -> dict[str, object]:
    return {"user_id": user.user_id, "username": user.username, "permissions": user.permissions.as_dict()}
