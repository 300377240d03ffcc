"""The child process: loads one model in a fresh process and measures or runs it.

A program of its own, started by path, that imports nothing but the standard library, numpy, what runs the
model, and its own modules here: `profilers/__init__.py` and what it imports are not loaded, so that they are
no part of the memory that is measured. A new way to run models is one more file with a `Runner` in it, and a
row in `_runner.py`.
"""
