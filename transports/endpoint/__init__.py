"""The local MongoDB endpoint: the wire protocol towards the driver, commands towards a backend."""
