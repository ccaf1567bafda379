"""`polystow`, and `python -m polystow_cli`."""

import gc


def main() -> None:
    """Run the command."""
    # What is imported is no garbage, and looking for some takes a tenth of the start. `App` turns
    # it on again.
    gc.disable()
    from polystow_cli._commands import polystow

    polystow(prog_name="polystow")


if __name__ == "__main__":
    main()
