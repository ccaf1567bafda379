"""As in s3py-helper."""
