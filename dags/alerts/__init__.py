"""Alerts: the DAG `alerts`, the channels that it uses, and the callbacks with which tasks report failures."""
