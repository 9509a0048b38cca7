"""The only place that reads and writes the files of the cache and the results.

The files are pickles, tables, figures, logs and provenance. Nothing here knows what a file means: no setting,
model or table has a name in this room.
"""
