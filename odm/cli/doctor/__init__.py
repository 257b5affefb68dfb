"""``odm doctor``: a URL, its environment, its function and its server, held against best practices.

`inspect_url`, `inspect_environment`, `inspect_function` and `inspect_server` gather facts; `rules`
judges them and does no I/O; `report` shows what was found.
"""
