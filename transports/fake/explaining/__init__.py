"""What ``explain`` says of a query: its conditions, bounds of an index, the plan, what it read."""

from transports.fake.explaining.execution import execution_stats
from transports.fake.explaining.plans import Plan, Query, plan_query

__all__ = ["Plan", "Query", "execution_stats", "plan_query"]
