"""The library that the scripts of the workflow share, in rooms that mirror its stages.

Dependencies point one way: `storage`, `configuration` and `models` know none of the other rooms; `training`
uses `models` and `storage`; `tables` uses `storage`; `figures` uses `tables` and `storage`. Every room may use
`sequences`.
"""
