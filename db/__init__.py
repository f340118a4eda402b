"""The truth: tables, sessions, migrations; commands that change it apart from queries that read it."""
