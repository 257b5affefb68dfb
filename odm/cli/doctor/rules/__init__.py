"""The rules, by what they are about; `catalogue` has them in the order of a report."""
