"""The asset graph: four assets per table, and the hubs that join them."""
