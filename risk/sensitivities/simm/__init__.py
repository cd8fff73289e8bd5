"""Margin in the shape of ISDA SIMM, from rows of sensitivities and a file of parameters."""
