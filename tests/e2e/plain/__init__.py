"""Configs that know nothing of this project."""
