"""The site as Great Expectations knows it: `context.build_data_docs()` builds what `build_data_docs(root)` builds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from great_expectations.render.renderer.site_builder import SiteBuilder

from expectations import data_docs


class MigrationSiteBuilder(SiteBuilder):
    """Named in great_expectations.yml. Pages lie where Great Expectations looks for them, so its links lead to them."""

    def build(
        self,
        resource_identifiers: list[Any] | None = None,
        build_index: bool = True,
    ) -> tuple[str | None, dict[str, Any]]:
        """Build what is new. Which results those are, the builder knows itself; the arguments change nothing."""
        del resource_identifiers, build_index
        data_docs.build(Path(str(self.data_context.root_directory)).parent)
        return self.get_resource_url(only_if_exists=False), {}
