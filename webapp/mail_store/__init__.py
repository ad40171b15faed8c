"""The ledger of mails as it lies in its table, and what puts mails into it."""
