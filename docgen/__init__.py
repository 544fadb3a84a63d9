"""Generators of ``docs/reference`` and of the example files; ``make reference`` (``python -m docgen``) runs them.

A unit test (``tests/unit/test_reference.py``) compares the files in the repository with what the generators return.
"""
