"""Writing rows: values are converted, parents found, rows checked and stored, with an error for each row that fails."""
