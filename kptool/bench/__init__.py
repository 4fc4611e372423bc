"""Benchmarks of kptool against other implementations and against memory bandwidth, as ratios within one run.

Each module has ``run(quick) -> list[Row]``. A row compares two implementations of the same task, after asserting that
their results agree; peers that are not installed are skipped.
"""
