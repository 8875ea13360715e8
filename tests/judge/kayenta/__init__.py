"""The Kayenta-compatible judge."""
