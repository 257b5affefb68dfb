"""What the DB proxy function runs for its callers: `Policy`."""

from transports.lambda_invoke.function.policy.policy import VARIABLE, Policy, Views, database_of
from transports.lambda_invoke.function.policy.refusal import Refused
from transports.lambda_invoke.function.policy.rules import PolicyError

__all__ = ["VARIABLE", "Policy", "PolicyError", "Refused", "Views", "database_of"]
