"""Small programs for those who develop deepvis."""
