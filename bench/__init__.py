"""Measurements of this machine, one command each: `make bench`."""
