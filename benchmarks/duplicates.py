"""Near duplicates: precision and recall on photos' bursts, edited copies, and look-alike templates.

    python -m benchmarks.duplicates --data ../shared/data/grocery ../shared/data/cars98/images

burst      photos of the Grocery Store Dataset as they are. Which are shots of one thing nobody has noted, so
           the pairs that hash and thumbnail alone join are taken for them: what share is joined still
edited     photos of all sets, each with copies: resized, recompressed, cropped by 2 and 4 %, brightened,
           sharpened, turned to grey JPEG. A photo and its copies are one group, everything else is not
template   twelve kinds of drawn forms that differ in details alone, `--each` of each, as JPEG of several
           qualities or PNG, a third of them shifted by some pixels. No two are the same

Precision: of the pairs joined, those that are right. Recall: of the right pairs, those joined. Both with the
details looked at (`now`) and without (`hash and thumbnail`), in one run.
"""

import argparse
import io
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

from benchmarks.contenders import machine
from udml.config import load_params
from udml.data.decoding import pixel_digest
from udml.data.duplicates import duplicate_thumbnail, find_groups
from udml.pixels import decode

BEFORE = 6, 0.97  # bits and correlation that joined two images when nothing else was looked at
Draw = Callable[[ImageDraw.ImageDraw, random.Random], None]


@dataclass(frozen=True)
class Case:
    """Files and which belong together: `truth` holds a number per file, equal for copies of one."""

    name: str
    files: list[bytes]
    truth: np.ndarray | None


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, help="folders of photos; first grocery"
    )
    parser.add_argument("--photos", type=int, default=200, help="of each folder, for edited copies")
    parser.add_argument("--each", type=int, default=40, help="of each kind of template")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(machine())
    rng = random.Random(options.seed)
    photos = [sorted(folder.rglob("*.jpg")) for folder in options.data]
    cases = [Case("burst", [path.read_bytes() for path in photos[0]], None)]
    chosen = [path for some in photos for path in rng.sample(some, min(options.photos, len(some)))]
    cases.append(_edited(chosen))
    cases += [_template(name, draw, options.each, rng) for name, draw in TEMPLATES.items()]
    print(f"{'case':<12}{'files':>6}   {'hash and thumbnail':>24}   {'now':>24}   cost")
    for case in cases:
        print(_row(case))


def _row(case: Case) -> str:
    params = load_params().prepare
    images = [decode(data, params.store_short_side_px).pixels for data in case.files]
    ids = np.arange(len(images))
    digests = np.array([pixel_digest(image) for image in images], "V16")
    thumbnails = np.stack([duplicate_thumbnail(Image.fromarray(image)) for image in images])
    limits = params.duplicate_max_bits, params.duplicate_min_correlation
    started = time.perf_counter()
    before = find_groups(ids, digests, thumbnails, *BEFORE)
    middle = time.perf_counter()
    now = find_groups(ids, digests, thumbnails, *limits, pixels=images.__getitem__)
    cost = (time.perf_counter() - middle) / (middle - started)
    truth = before if case.truth is None else case.truth
    words = [_score(truth, found) for found in (before, now)]
    return f"{case.name:<12}{len(images):>6}   {words[0]:>24}   {words[1]:>24}   x {cost:.1f}"


def _score(truth: np.ndarray, found: np.ndarray) -> str:
    """Precision and recall of pairs, in percent."""
    right, joined = (values[:, None] == values[None] for values in (truth, found))
    upper = np.triu_indices(len(truth), 1)
    right, joined = right[upper], joined[upper]
    both = np.count_nonzero(right & joined)
    precision = 100 * both / joined.sum() if joined.any() else 100.0
    recall = f"{100 * both / right.sum():.1f}" if right.any() else "-"
    return f"{precision:.1f} / {recall} ({joined.sum():,} pairs)"


def _jpeg(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _edited(paths: list[Path]) -> Case:
    files, truth = [], []
    for number, path in enumerate(paths):
        with Image.open(path) as opened:
            photo = opened.convert("RGB")
        copies = [path.read_bytes(), *_copies(photo)]
        files += copies
        truth += [number] * len(copies)
    return Case("edited", files, np.array(truth))


def _copies(photo: Image.Image) -> Iterator[bytes]:
    width, height = photo.size
    for share in (0.5, 0.8, 1.5):
        yield _jpeg(photo.resize((round(width * share), round(height * share)), Image.Resampling.LANCZOS), 90)
    for quality in (30, 60):
        yield _jpeg(photo, quality)
    for share in (0.02, 0.04):
        x, y = round(width * share / 2), round(height * share / 2)
        yield _jpeg(photo.crop((x, y, width - x, height - y)), 90)
    yield _jpeg(ImageEnhance.Brightness(photo).enhance(1.15), 90)
    yield _jpeg(photo.filter(ImageFilter.UnsharpMask(2, 80)), 90)


# --- templates


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _word(rng: random.Random, length: int = 7) -> str:
    return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(length))


def _number(rng: random.Random, digits: int = 6) -> str:
    return "".join(rng.choice("0123456789") for _ in range(digits))


def _invoice(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    draw.rectangle((40, 40, 240, 110), fill=(20, 60, 140))
    draw.text((400, 50), "INVOICE", fill="black", font=_font(40))
    draw.text((400, 110), f"No. {_number(rng)}", fill="black", font=_font(18))
    draw.text((40, 150), f"{_word(rng).title()} {_word(rng).title()}", fill="black", font=_font(18))
    for line in range(8):
        y = 230 + 45 * line
        draw.line((40, y - 8, 560, y - 8), fill="grey")
        draw.text((45, y), f"{_word(rng)} {_word(rng, 5)}", fill="black", font=_font(16))
        draw.text((470, y), f"{_number(rng, 3)}.{_number(rng, 2)}", fill="black", font=_font(16))
    draw.text((400, 640), f"Total {_number(rng, 4)}.00", fill="black", font=_font(22))


def _label(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    draw.rectangle((20, 20, 580, 780), outline="black", width=8)
    draw.text((60, 60), "PART", fill="black", font=_font(60))
    draw.text((60, 200), _number(rng, 8), fill="black", font=_font(64))
    for bar in range(60):
        draw.rectangle((60 + 8 * bar, 500, 62 + 8 * bar + rng.randint(0, 4), 700), fill="black")


def _ticket(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    draw.rectangle((0, 0, 600, 180), fill=(200, 30, 50))
    draw.text((40, 60), "CONCERT", fill="white", font=_font(60))
    draw.text(
        (40, 300), f"Row {rng.randint(1, 60)}  Seat {rng.randint(1, 200)}", fill="black", font=_font(36)
    )
    draw.text((40, 700), _number(rng, 10), fill="black", font=_font(28))


def _screen(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    draw.rectangle((0, 0, 600, 60), fill=(50, 50, 60))
    draw.rectangle((0, 60, 150, 800), fill=(230, 230, 235))
    for row in range(12):
        draw.text(
            (170, 90 + 55 * row),
            f"{_word(rng)}  {_word(rng)}  {_number(rng, 4)}",
            fill="black",
            font=_font(18),
        )
        draw.text((15, 90 + 55 * row), f"Menu {row}", fill="black", font=_font(18))


def _drawing(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    draw.rectangle((30, 30, 570, 770), outline="black", width=3)
    draw.ellipse((150, 150, 450, 450), outline="black", width=3)
    for _ in range(4):
        x, y = rng.randint(200, 380), rng.randint(200, 380)
        draw.ellipse((x, y, x + 30, y + 30), outline="black", width=3)
    draw.text((350, 700), f"DWG {_number(rng, 5)}", fill="black", font=_font(24))


def _form(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    for row in range(14):
        y = 60 + 50 * row
        draw.text((40, y), f"Field {row}", fill="black", font=_font(16))
        draw.rectangle((200, y - 5, 560, y + 28), outline="black")
        for box in range(3):
            if rng.random() < 0.4:
                draw.text((215 + 120 * box, y), "X", fill="black", font=_font(20))


def _table(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    for row in range(20):
        for column in range(5):
            box = (20 + 112 * column, 40 + 36 * row, 132 + 112 * column, 76 + 36 * row)
            draw.rectangle(box, outline="grey")
            draw.text((box[0] + 8, box[1] + 8), _number(rng, 5), fill="black", font=_font(16))


def _chart(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    draw.line((60, 60, 60, 740, 560, 740), fill="black", width=3)
    points = [(60 + 25 * step, 400 + rng.randint(-60, 60)) for step in range(20)]
    draw.line(points, fill=(30, 90, 200), width=4)
    draw.text((200, 20), "Daily values", fill="black", font=_font(28))


def _card(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    draw.rectangle((0, 0, 600, 800), fill=(240, 235, 220))
    draw.ellipse((60, 60, 180, 180), fill=(120, 40, 40))
    draw.text((60, 300), f"{_word(rng).title()} {_word(rng).title()}", fill="black", font=_font(36))
    draw.text((60, 380), f"{_word(rng)}@example.org", fill="black", font=_font(22))
    draw.text((60, 420), f"+{_number(rng, 11)}", fill="black", font=_font(22))


def _receipt(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    draw.text((200, 30), "MARKET", fill="black", font=_font(44))
    for row in range(rng.randint(14, 16)):
        draw.text((60, 110 + 38 * row), _word(rng, rng.randint(5, 12)), fill="black", font=_font(20))
        draw.text(
            (450, 110 + 38 * row), f"{rng.randint(1, 40)}.{_number(rng, 2)}", fill="black", font=_font(20)
        )


def _plan(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    draw.rectangle((50, 50, 550, 750), outline="black", width=10)
    draw.line((50, 400, 550, 400), fill="black", width=8)
    draw.line((300, 50, 300, 750), fill="black", width=8)
    for x, y in ((80, 80), (330, 80), (80, 430), (330, 430)):
        width, height = rng.randint(40, 120), rng.randint(40, 120)
        draw.rectangle((x, y, x + width, y + height), outline="black", width=4)


def _gauge(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    draw.rectangle((0, 0, 600, 800), fill=(40, 60, 50))
    draw.rectangle((80, 200, 520, 420), fill=(180, 200, 170))
    draw.text((120, 250), _number(rng, 5), fill=(20, 30, 20), font=_font(110))
    draw.text((200, 600), "kWh", fill="white", font=_font(60))


TEMPLATES: dict[str, Draw] = {
    "invoice": _invoice,
    "label": _label,
    "ticket": _ticket,
    "screen": _screen,
    "drawing": _drawing,
    "form": _form,
    "table": _table,
    "chart": _chart,
    "card": _card,
    "receipt": _receipt,
    "plan": _plan,
    "gauge": _gauge,
}


def _template(name: str, draw: Draw, count: int, rng: random.Random) -> Case:
    files = []
    for number in range(count):
        page = Image.new("RGB", (600, 800), "white")
        draw(ImageDraw.Draw(page), rng)
        if number % 3 == 0:
            shifted = Image.new("RGB", page.size, "white")
            shifted.paste(page, (rng.randint(-5, 5), rng.randint(-5, 5)))
            page = shifted
        if number % 4 == 0:
            buffer = io.BytesIO()
            page.save(buffer, "PNG")
            files.append(buffer.getvalue())
        else:
            files.append(_jpeg(page, rng.choice((50, 75, 92))))
    return Case(name, files, np.arange(count))


if __name__ == "__main__":
    main()
