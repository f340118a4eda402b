"""Measurements, one command each; what they printed is kept in docs/measurements.md."""
