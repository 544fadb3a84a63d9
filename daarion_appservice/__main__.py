"""``python -m daarion_appservice``: the same as the console script."""

from .cli.main import main

if __name__ == "__main__":
    main()
