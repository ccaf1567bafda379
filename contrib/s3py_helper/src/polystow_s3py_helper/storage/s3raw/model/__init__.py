"""The key of the user metadata that keeps a file's original name, percent-encoded."""

REAL_FILE_NAME_KEY = "--real-file-name--"
