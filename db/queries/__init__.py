"""Reads for the REST API and the pages alike: each returns frozen models that are ready for JSON."""
