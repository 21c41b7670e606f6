"""The engine behind `sf_loaded`: staged chunks become ingest jobs, and every row is loaded, failed or unprocessed."""
