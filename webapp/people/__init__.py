"""Registration, accounts, managing people, birthday mails."""
