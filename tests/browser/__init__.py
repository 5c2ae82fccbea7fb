"""A package, so that what its conftest.py shares ends with the last test of this folder."""
