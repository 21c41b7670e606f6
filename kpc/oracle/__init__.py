"""The Oracle client: sessions and what their failures mean. The only place that imports the driver."""
