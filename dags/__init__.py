"""The asset graph as Airflow DAGs. The only package that imports `airflow`."""
