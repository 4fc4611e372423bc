"""``python -m kptool``."""

from kptool.cli.main import main

if __name__ == "__main__":
    main()
