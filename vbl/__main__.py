"""`python -m vbl` is `vbl`."""

from vbl.cli.main import main

if __name__ == "__main__":
    main()
