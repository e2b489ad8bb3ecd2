"""Plug-ins: how they are found, kept apart, asked, and handed to another program.

`hookspecs` says what a plug-in may implement, `protocols` what its objects must do; `manager` holds the registry on top
of `loading` (one entry point at a time), `isolation` (one plug-in at a time) and `kinds` (what a record must be like);
`listing` describes them; `host` installs them into another manager.

Nothing here imports numpy, astropy or torch: finding plug-ins must cost no more than reading their metadata.
"""
