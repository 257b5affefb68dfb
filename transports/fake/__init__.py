"""An in-memory MongoDB behind a local endpoint: what unit tests run on.

`transport` is the way in; `server` interprets commands; `storage`, `indexes` and `transactions`
hold the data; `matcher`, `update`, `expressions` and `stages` are MongoDB's languages.
"""
