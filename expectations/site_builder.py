"""Great Expectations' interface to the site: `context.build_data_docs()` does the same as `build_data_docs(root)`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from great_expectations.render.renderer.site_builder import SiteBuilder

from expectations import data_docs


class MigrationSiteBuilder(SiteBuilder):
    """Named in great_expectations.yml. Pages are at Great Expectations' standard paths, so its links work."""

    def build(
        self,
        resource_identifiers: list[Any] | None = None,
        build_index: bool = True,
    ) -> tuple[str | None, dict[str, Any]]:
        """Build the new pages. The builder finds new results itself and ignores the arguments."""
        del resource_identifiers, build_index
        data_docs.build(Path(str(self.data_context.root_directory)).parent)
        return self.get_resource_url(only_if_exists=False), {}
