"""Storage servers for tests. See `polystow_testing.fastdfs`; fixtures are in the pytest plugin."""

__all__: list[str] = []
