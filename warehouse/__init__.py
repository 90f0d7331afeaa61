"""Where the data lives: connection settings, an embedded PostgreSQL, migrations and roles."""
