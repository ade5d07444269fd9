"""What every room shares: the error tree, months, column names and the code version.

This package imports nothing but the standard library and polars, so that any room may import it.
"""

__version__ = "0.1.0"
