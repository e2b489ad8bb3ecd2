"""Adapters for programs that want our galaxies in their own form; each needs that program, an extra."""
