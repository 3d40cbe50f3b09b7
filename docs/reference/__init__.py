"""Pages of the documentation that are made from the code, so that they cannot fall behind it.

python -m docs.reference writes them all (`make reference`); tests/tidy/test_reference.py holds them
equal to what would be written.
"""
