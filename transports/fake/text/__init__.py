"""Text search: ``$text`` over a text index.

`tokens` cuts text into the terms of an index, `query` reads what is searched, `search` finds and
scores documents.

Spec: https://www.mongodb.com/docs/manual/core/link-text-indexes/
"""
