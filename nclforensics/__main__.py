"""`python -m nclforensics` is the same as `nclf`."""

from nclforensics.cli.app import main

if __name__ == "__main__":
    main()
