"""What people judged of pairs of pictures, as the report's first section."""

from html import escape

from udml.evaluation.intervals import Estimate
from udml.judgement.pairs import DEPTHS
from udml.judgement.standing import Standing, sentences
from udml.report.page import Section, counted
from udml.report.results import show, value_cell


def judged_section(standing: Standing) -> Section:
    """Precision at 1 and 5 of each model that was compared, with intervals, and what tells them apart."""
    judged = standing.judged
    said = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences(standing))
    body = f"<ul>{said}</ul>"
    if judged is not None:
        rows = "".join(
            _row(model.title, precision)
            for model, precision in zip(standing.models, judged.precision, strict=True)
        )
        heads = "".join(f'<th scope="col" class="number">precision at {depth}</th>' for depth in DEPTHS)
        body = (
            '<div class="scroll" tabindex="0" role="region" aria-label="As people judged">'
            f"<table class='measures'><thead><tr><th scope=\"col\">model</th>{heads}</tr></thead>"
            f"<tbody>{rows}</tbody></table></div>{body}"
        )
        unsure = f", of which {judged.unsure:,} could not say" if judged.unsure else ""
        how = (
            f"{counted(judged.answers, 'answer')} of people{unsure}, drawn with known probabilities from "
            f"{standing.pairs:,} pairs that these models find first among the test images, weighted back; "
            "copies of a picture left out"
        )
        body += f'<p class="protocol">Protocol: {escape(how)}</p>'
    intro = (
        "The share of what is found first that people called the same, blind to which model found it. "
        "Small numbers are 95 % intervals. `udml judge` asks for more."
    )
    return Section("judged", "As people judged", "As people judged", intro, body)


def _row(title: str, precision: tuple[Estimate, ...]) -> str:
    cells = "".join(
        value_cell(one, True, "trained", f"precision at {depth}")
        for one, depth in zip(precision, DEPTHS, strict=True)
    )
    label = f"{title}: {show(precision[-1].value, True)}"
    return f'<tr title="{escape(label)}"><th scope="row">{escape(title)}</th>{cells}</tr>'
