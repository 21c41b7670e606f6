"""Oracle's data types and what happens between them: literals, conversion, comparison, arithmetic, format models."""
