"""Starts a function's process: notes that Python runs, then starts Lambda's runtime client.

As AWS's own bootstrap does, it imports the client and gives it the handler's name.
"""

# The first line of all that Python runs: what comes before it is the interpreter's.
from stamps import stamp  # type: ignore[import-not-found]  # beside this file

stamp("interpreter")

import os  # noqa: E402  # what is measured

from awslambdaric.__main__ import main  # noqa: E402  # likewise

main(["", os.environ["ODM_BENCH_LAUNCHES"]])
