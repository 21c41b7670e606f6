"""Implementation of `reconciled`: compares Oracle's totals and the sealed extract with Salesforce."""
