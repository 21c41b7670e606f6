"""Stage `sf_loaded`: loads staged chunks by ingest jobs; each row ends as loaded, failed or unprocessed."""
