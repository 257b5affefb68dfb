"""``odm cost``: what a workload costs over the DB proxy function, and what it needs."""
