"""Where schedules come from besides people: files of several formats, other programs' tables. Nothing is executed."""
