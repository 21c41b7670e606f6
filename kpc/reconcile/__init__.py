"""The engine behind `reconciled`: Oracle's totals and the sealed extract against Salesforce."""
