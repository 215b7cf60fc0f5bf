"""novanda."""
