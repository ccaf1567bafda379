"""The command `polystow`."""
