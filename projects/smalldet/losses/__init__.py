"""Losses: pure functions on tensors, and thin modules around them."""
