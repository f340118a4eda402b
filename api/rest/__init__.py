"""The REST resources, one module each; `api.rest.resources` puts them together."""
