"""Commands carried by AWS Lambda `Invoke` to the DB proxy function, which holds the connections."""
