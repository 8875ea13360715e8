"""Tests of what experiments and rollouts decide."""
