"""The only place that reads and writes files: pickles, tables, figures, logs and provenance.

Nothing here knows what a file means: no setting, model or table has a name in this room.
"""
