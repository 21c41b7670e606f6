"""Implementation of `oracle_extract`: a partition as of one SCN, in Parquet that matches Oracle's control totals."""
