"""Packages in this folder have tests of their own; test_third_party runs them where they are installed."""

collect_ignore_glob = ["*/*"]
