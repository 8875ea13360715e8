"""shadowproxy: mirror production traffic to a shadow fleet without being able to hurt it."""

__version__ = "0.1.0"
