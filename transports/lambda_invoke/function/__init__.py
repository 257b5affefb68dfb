"""The DB proxy function: what runs on AWS Lambda. Imports the standard library and PyMongo only."""
