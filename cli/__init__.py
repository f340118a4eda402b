"""The `deepvis` command."""
