"""The Oracle client: sessions, exact reading, and what driver errors mean. The only place that imports the driver.

It knows neither the catalog nor partitions nor files: callers bring statements and take rows or Arrow batches.
"""
