"""Experiments and rollouts: what is decided about them, pure. Control brings clock, probes and journal, and carries decisions out."""
