"""Telling people: the DAG `alerts`, the channels that it uses, and the callbacks by which tasks report failures."""
