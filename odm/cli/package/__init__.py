"""``odm package``: the DB proxy function's bundle, built, checked, and described."""
