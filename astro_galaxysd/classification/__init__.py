"""Classifiers of one class of galaxies: rows they learn from, ways to learn from few, and what they find."""
