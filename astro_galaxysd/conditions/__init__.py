"""Conditions: what a row of a table says about its galaxy, as vote fractions and as prompts."""
