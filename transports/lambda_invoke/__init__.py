"""To be described by the package."""
