"""Evaluators of synthetic against real images."""
