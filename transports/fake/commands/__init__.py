"""The commands of the fake, one module per family; `all_commands` registers them."""

from transports.fake.commands.families import all_commands

__all__ = ["all_commands"]
