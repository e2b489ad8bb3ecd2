"""A survey's own cutouts: described, read, matched and written like the survey's own."""
