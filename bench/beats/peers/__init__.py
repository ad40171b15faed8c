"""How each scheduler is set up, filled, edited and stepped: one module each, run in that scheduler's environment.

Each module offers `app` and `peer`, a `Peer`.
"""
