"""``odm bench``: what a command costs, side by side, in one run on one machine."""
