"""Files: the staging root, atomic publication, manifests, and the formats that are read and written piece by piece."""
