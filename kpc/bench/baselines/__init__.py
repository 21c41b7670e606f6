"""Baselines: programs that do a part of the migration without using its code, for comparison.

They import the vendors' packages directly, which is otherwise allowed only in our clients (`tests/test_layers.py`).
"""
