"""``odm tunnel``: a local MongoDB address for what a URL reaches, and what goes through it."""
