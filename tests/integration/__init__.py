"""Whole conversations through a real worker: TLS, upgrades, forwarding fields, names."""
