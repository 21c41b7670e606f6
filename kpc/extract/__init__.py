"""The engine behind `oracle_extract`: a partition as of one SCN, as Parquet that equals Oracle's own totals."""
