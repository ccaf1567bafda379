"""The fast lane: an S3 client for the hot operations, on an HTTP transport of its own.

`_signer` signs, `_requests` and `_parsing` translate (pure), `_connection` and `_pool` transport,
`_lane` puts them together, and `_open` says whether it can be used at all.
"""
