"""The engine behind `oracle_extract`: a partition as of one SCN, in Parquet files that match its control totals."""
