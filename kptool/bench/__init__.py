"""Measuring kptool beside its peers and beside what the memory allows, as ratios within one run.

Each module has ``run(quick) -> list[Row]``. A row compares two ways of doing the same work, and asserts first that
they do; peers that are not installed are left out.
"""
