"""Sérsic galaxies for astro_galaxysd: a generator and an evaluator."""
