"""The default training: what is suggested, its schedules, rows, steps, and the scores it reports."""
