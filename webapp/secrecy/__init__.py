"""Secret arguments: which they are, masked wherever they could be seen, sealed wherever they must be kept.

No Flask here: beat and workers use this too.
"""
