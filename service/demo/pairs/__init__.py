"""Pairs of tokens of the real head: drawn by squared score, and again when X and keys change."""
