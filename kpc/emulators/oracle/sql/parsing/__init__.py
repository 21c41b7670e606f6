"""From SQL text to tokens and a classified statement with its tree."""
