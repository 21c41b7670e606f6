"""The Migration page: tables by month, and actions for each partition; served by Airflow's api-server.

docs/migration-page.md describes the page, its endpoints and who may do what.
"""
