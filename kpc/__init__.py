"""Moves KPC TMS's sales history from Oracle to Salesforce and proves that every record arrived."""
