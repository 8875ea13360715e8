"""The command line: one module a command group, found through `main`."""
