"""``odm demo``: one repository script, every transport, and proof that they agree."""
