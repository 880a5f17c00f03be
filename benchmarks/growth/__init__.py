"""How the time of a call grows with the size of its input: measure, fit, draw, write down."""
