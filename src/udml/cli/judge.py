"""The command `judge`: the truth about models, from a person, at the price of minutes."""

import argparse
import sys
from pathlib import Path

from udml import paths
from udml.cli.common import Commands, add_to, given_path, output_file
from udml.errors import UdmlError


def add_judge(commands: Commands) -> None:
    """Add `judge`."""
    text = "say of pairs of test images whether they show the same, to learn which model is better"
    command = add_to(commands, "judge", _judge, text)
    command.description = (
        f"{text}. A page on this machine asks about pairs that the frozen backbone, the champion and "
        "what the pipeline made last find; answers are appended to judgements.jsonl. docs/judging.md tells "
        "the rest."
    )
    command.add_argument("--name", type=_name, help="kept with the answers, and when they were given")
    way = command.add_mutually_exclusive_group()
    way.add_argument("--export", type=output_file, metavar="FILE", help="write what was judged as CSV")
    way.add_argument(
        "--import", type=given_path, dest="taken", metavar="FILE", help="take over answers from CSV"
    )


def _name(text: str) -> str:
    name = text.strip()
    if not name or len(name) > 80 or not name.isprintable():
        raise argparse.ArgumentTypeError("a name has 1 to 80 letters")
    return name


def _judge(options: argparse.Namespace) -> None:
    from udml.judgement.answers import FILE, read_answers
    from udml.judgement.exchange import read_csv, write_csv

    if options.export:
        print(f"{write_csv(options.export):,} judgements in {options.export}")
        return
    if options.taken:
        new, known = read_csv(options.taken)
        print(f"{new:,} judgements added to {FILE}, {known:,} stood there already")
        return
    if not Path("dvc.yaml").exists():
        raise UdmlError(f"{Path.cwd()} is no project of udml: there is no dvc.yaml", "go to its top")
    answers = read_answers()
    if answers.unreadable:
        print(f"left out: {answers.unreadable} unreadable lines of {FILE}", file=sys.stderr)
    alike, several = answers.agreement()
    if several:
        print(f"of {several} pairs that several people judged, they agree on {alike}")
    from udml.judgement.deck import open_deck
    from udml.registry.judged.models import keep_standing, models_to_judge
    from udml.serving.judging.judge import judge

    deck = open_deck(models_to_judge(paths.MODELS))
    judge(deck, FILE, options.name or "", lambda standing: keep_standing(paths.MODELS, standing))
