"""The web front: REST resources and gallery pages over the same queries."""
