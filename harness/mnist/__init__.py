"""Section 4 of the paper: trained generators of digits and distortions.

PyTorch is needed here alone.
"""
