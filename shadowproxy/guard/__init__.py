"""SQL that makes a database keep test sessions away from production data, whatever the services in front of it forget.

Pure: text in, text out. `shadowproxy guard` prints or applies it; docs/guard-postgres.md says what it does and does not do.
"""
