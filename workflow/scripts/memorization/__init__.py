"""The library that the scripts of the workflow share.

Its rooms mirror the stages of the workflow. Dependencies point one way: `storage`, `configuration` and `models`
know none of the other rooms; `training` uses `models` and `storage`; `tables` uses `storage`; `figures` uses
`tables` and `storage`. Every room may use `sequences`.
"""
