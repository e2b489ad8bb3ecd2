"""Augmentation: which rows to add to a table, and the table with them."""
