"""Files: the staging root, atomic publication, manifests, and file formats that are streamed."""
