"""Oracle's data types: literals, conversion, comparison, arithmetic, format models, ROWIDs."""
