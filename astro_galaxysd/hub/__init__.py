"""Weight cards, downloads and publishing."""
