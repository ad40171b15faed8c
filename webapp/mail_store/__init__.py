"""The tables of mails, and adding mails to them."""
