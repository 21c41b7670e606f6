"""The Migration page: tables by months, and what can be done about each partition; served by Airflow's api-server.

docs/migration-page.md describes the page, its endpoints and who may do what.
"""
