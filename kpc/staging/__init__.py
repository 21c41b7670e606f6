"""Implementation of `staged_csv`: a sealed extract becomes gzip CSV chunks and a list of rejected rows."""
