"""The Oracle client: sessions, exact numbers, and what driver errors mean. The only package that imports the driver.

It does not depend on the catalog, partitions or files: callers pass statements and get rows or Arrow batches.
"""
