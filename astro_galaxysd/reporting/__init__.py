"""Reports to be read: an assessment in, one offline page out."""
