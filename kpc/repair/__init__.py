"""Rows that Salesforce refused: exported, corrected by people, and sent again."""
