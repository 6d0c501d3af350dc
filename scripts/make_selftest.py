"""Write the self-test of a model: run it once, with the released weights, when a model is released.

python scripts/make_selftest.py models/ncl-lite-v4 examples/forged/removal_pipes.jpg --source TEXT

It then runs it, which must report identical results.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from nclforensics.pipelines.selftest import make_selftest, run_selftest


def main() -> None:
    """Write the files and run the self-test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="the model's folder")
    parser.add_argument("photo", type=Path, help="a JPEG photo in which the model finds something")
    parser.add_argument("--source", required=True, help="where the photo comes from, and its licence")
    arguments = parser.parse_args()
    make_selftest(arguments.model, arguments.photo, source=arguments.source)
    print(run_selftest(arguments.model))


if __name__ == "__main__":
    main()
