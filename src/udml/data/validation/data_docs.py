"""Data Docs as pages that can be read anywhere: one front page in plain words, no network, no scripts."""

import html
import re
from pathlib import Path
from typing import Any

FRONT_PAGE = "index.html"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2733; background: #fff; margin: 0 auto;
  max-width: 62rem; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.5rem; } h5 { font-size: 1.1rem; margin: 1.4rem 0 0; } h6 { margin: 1rem 0 0; }
a { color: #0b5cad; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
table table { width: auto; }
th, td { border-bottom: 1px solid #d8dee6; padding: .4rem .6rem; text-align: left; vertical-align: top; }
th { font-weight: 600; background: #f3f5f8; }
.ok, .text-success { color: #17713a; } .broken, .text-danger { color: #b3261e; }
.note, .text-warning { color: #8a5a00; }
.fa-check-circle::before { content: "\\2713"; } .fa-times::before { content: "\\2717"; }
.fa-exclamation-triangle::before, .fa-exclamation-circle::before { content: "!"; }
i { font-style: normal; font-weight: 600; } code { overflow-wrap: anywhere; } .small { color: #5a6775; }
@media (prefers-color-scheme: dark) {
  body { background: #14191f; color: #dde3ea; } th { background: #1f262e; } th, td { border-color: #333d48; }
  a { color: #7db7f0; } .ok, .text-success { color: #6fce92; } .broken, .text-danger { color: #ff8a80; }
  .note, .text-warning { color: #e5b95c; } .small { color: #9aa7b4; }
}
"""
_REMOVED = [  # what would be fetched from elsewhere, does nothing without scripts, or advertises
    r"<script\b.*?</script>",
    r"<style\b.*?</style>",
    r"<link\b[^>]*>",
    r"<img\b[^>]*>",
    r'<nav class="navbar.*?</nav>\s*</div>\s*</nav>',
    r'<div class="col-lg-2 col-md-2.*?(?=<div class="col-md-10)',
    r"<footer\b.*?</footer>",
    r"<title></title>",
]


def write_docs(folder: Path, result: dict[str, Any], pages: dict[str, str]) -> None:
    """Write the front page and one Data Docs page per table.

    Args:
        folder: created; written to.
        result: as in result.json.
        pages: HTML as Great Expectations renders it, by table.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in pages.items():
        (folder / f"{name}.html").write_text(readable_offline(page), encoding="utf-8")
    (folder / FRONT_PAGE).write_text(_front_page(result, list(pages)), encoding="utf-8")


def readable_offline(page: str) -> str:
    """A Data Docs page without scripts and remote files, with its own small stylesheet."""
    for pattern in _REMOVED:
        page = re.sub(pattern, "", page, flags=re.DOTALL)
    page = re.sub(r'<a\b[^>]*href="\.\.[^"]*"[^>]*>(.*?)</a>', r"\1", page, flags=re.DOTALL)
    page = page.replace("</head>", f"<style>{_STYLE}</style>\n</head>", 1)
    return page.replace("<body>", f'<body>\n<p><a href="{FRONT_PAGE}">All rules</a></p>', 1)


def _front_page(result: dict[str, Any], tables: list[str]) -> str:
    broken = [rule for rule in result["rules"] if not rule["met"] and rule["required"]]
    verdict = "All required rules are met." if not broken else f"{len(broken)} required rules are broken."
    links = ", ".join(f'<a href="{html.escape(name)}.html">{html.escape(name)}</a>' for name in tables)
    figures = "".join(_row(key.replace("_", " "), _number(value)) for key, value in result["figures"].items())
    rules = "".join(_rule_row(rule) for rule in result["rules"])
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Data validation</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>
<body><h1>Data validation</h1>
<p class="{"broken" if broken else "ok"}"><strong>{verdict}</strong></p>
<p class="small">{html.escape(result["protocol"])}<br>data version {html.escape(result["data_version"])};
details by Great Expectations: {links}</p>
<table><tr><th>Rule</th><th>Verdict</th><th>Rows that break it</th></tr>{rules}</table>
<h5>Figures</h5><table>{figures}</table></body></html>
"""


def _rule_row(rule: dict[str, Any]) -> str:
    kind, word = (
        ("ok", "met") if rule["met"] else ("broken", "broken") if rule["required"] else ("note", "note")
    )
    about = html.escape(rule["sentence"])
    if not rule["met"]:
        about += f'<br><span class="small">{html.escape(rule["mend"])}</span>'
    rows = f"{rule['failing']:,} of {rule['rows']:,}" if rule["failing"] and rule["rows"] > 1 else ""
    rows = "<br>".join([rows, *(f"<code>{html.escape(example)}</code>" for example in rule["examples"])])
    return f'<tr><td>{about}</td><td class="{kind}">{word}</td><td>{rows}</td></tr>'


def _row(name: str, value: str) -> str:
    return f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.2%}"
