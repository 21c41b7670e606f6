"""Airflow's REST API as the command line and the demo use it."""
