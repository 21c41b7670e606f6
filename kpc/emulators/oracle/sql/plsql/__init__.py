"""Anonymous PL/SQL blocks: read into a tree and run step by step."""
