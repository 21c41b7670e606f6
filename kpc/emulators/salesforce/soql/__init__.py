"""SOQL: text becomes tokens, a tree, SQL over the storage, and answers."""
