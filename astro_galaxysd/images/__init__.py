"""Images in and out: column codecs, image HDUs, tables on disk, provenance and contact sheets."""
