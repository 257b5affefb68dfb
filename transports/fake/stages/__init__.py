"""The stages of aggregation pipelines, each in a module with its relatives."""
