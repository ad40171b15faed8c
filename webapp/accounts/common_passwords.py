"""Pieces that common passwords are made of; see `webapp.accounts.passwords`.

A list of whole passwords of twelve characters and more would never end: the common ones are one or two of these
words, rows of keys or of numbers, repeated or with a year behind.
"""

from __future__ import annotations

from pathlib import Path

WORDS = frozenset(Path(__file__).with_name("common_words.txt").read_text("ascii").split())

# Read forwards and backwards; any four neighbours or more are one piece.
ROWS = (
    "abcdefghijklmnopqrstuvwxyz",
    "012345678901234567890",
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "qwertzuiop",
    "yxcvbnm",
    "azertyuiop",
    "qsdfghjklm",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik",
    "1q2w3e4r5t6y7u8i9o0p",
    "q1w2e3r4t5y6u7i8o9p0",
    "qazwsxedcrfvtgbyhnujmikolp",
)
