"""Published protocols as cells, run once each, their outcomes kept as JSON lines."""
