"""The asset graph as Airflow DAGs. The only place that imports `airflow`."""
