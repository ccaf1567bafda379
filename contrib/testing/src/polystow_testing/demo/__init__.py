"""The fusion demo: `python -m polystow_testing.demo [FOLDER]`.

It starts an S3 server and a FastDFS cluster (or is given real ones), uploads a folder through one
storage, reads files of both backends back by id and compares every byte, and writes one zip of
both. It needs the extra `polystow-testing[demo]`.
"""
