"""What others would write: programs that do a part of the migration without any of its code, to be measured beside it.

They use the vendors' packages directly, which nothing else outside the vendors' doors may do (`tests/test_layers.py`).
"""
