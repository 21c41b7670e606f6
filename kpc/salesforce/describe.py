"""The org's description of an object and its fields."""

from __future__ import annotations

from typing import Any

from kpc.errors import SchemaDrift
from kpc.salesforce.answers import Refused
from kpc.salesforce.rest import Rest


class DescribeApi(Rest):
    def describe(self, object_name: str) -> dict[str, Any]:
        """The org's own description of an object. Raises `SchemaDrift` if it has no such object."""
        try:
            description: dict[str, Any] = self.ask(f"/sobjects/{object_name}/describe")
        except Refused as refused:
            if refused.status != 404:
                raise
            raise SchemaDrift(
                f"The org has no object {object_name}, or the integration user may not see it.",
                "Create it from the catalog (`kpc preflight` lists its fields), or grant access.",
                differences=(f"{object_name}: missing",),
            ) from None
        return description
