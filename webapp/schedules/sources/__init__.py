"""Import sources of schedules: files of several formats and other programs' tables. No imported code is executed."""
