// A rectangle over the picture that is asked with, drawn by pointer or keyboard, in fractions of the picture.

const STEP = 0.02; // an arrow key moves or resizes by this
const LEAST = 0.04; // of a side; a smaller drag is a click
const FIRST = [0.25, 0.25, 0.5, 0.5]; // what the first arrow key begins with
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const within = (value, low, high) => Math.min(Math.max(value, low), high);
const moved = ([x, y, w, h], dx, dy) => [within(x + dx, 0, 1 - w), within(y + dy, 0, 1 - h), w, h];
const resized = ([x, y, w, h], dx, dy) => [x, y, within(w + dx, LEAST, 1 - x), within(h + dy, LEAST, 1 - y)];
const percent = (part) => `${Math.round(100 * part)} %`;

export class Cropper {
  // `frame` holds the picture and the `mark`; `search` is called with a rectangle, or null for all of it.
  constructor(frame, mark, search, say) {
    Object.assign(this, { frame, mark, search, say, crop: null, drag: null });
    frame.addEventListener("pointerdown", (event) => this.begin(event));
    frame.addEventListener("pointermove", (event) => this.pull(event));
    frame.addEventListener("pointerup", (event) => this.end(event));
    frame.addEventListener("pointercancel", () => this.set(this.drag?.before ?? this.crop));
    frame.addEventListener("keydown", (event) => this.press(event));
  }

  set(crop) {
    this.crop = crop;
    this.drag = null;
    this.draw(crop);
  }

  draw(crop) {
    this.mark.hidden = !crop;
    if (!crop) return;
    const [x, y, w, h] = crop.map((part) => `${100 * part}%`);
    Object.assign(this.mark.style, { left: x, top: y, width: w, height: h });
  }

  place(event) {
    const box = this.frame.getBoundingClientRect();
    return [within((event.clientX - box.left) / box.width, 0, 1), within((event.clientY - box.top) / box.height, 0, 1)];
  }

  begin(event) {
    if (event.button !== 0) return;
    event.preventDefault(); // the browser would drag the picture away
    this.frame.focus({ preventScroll: true });
    this.frame.setPointerCapture(event.pointerId);
    const [px, py] = this.place(event);
    const [x, y, w, h] = this.crop ?? [2, 2, 0, 0];
    const inside = px > x && px < x + w && py > y && py < y + h;
    this.drag = { from: [px, py], before: this.crop, moves: inside };
  }

  pull(event) {
    if (!this.drag) return;
    const [fx, fy] = this.drag.from;
    const [px, py] = this.place(event);
    this.drag.now = this.drag.moves
      ? moved(this.drag.before, px - fx, py - fy)
      : [Math.min(fx, px), Math.min(fy, py), Math.abs(px - fx), Math.abs(py - fy)];
    this.draw(this.drag.now);
  }

  end(event) {
    if (!this.drag) return;
    this.pull(event);
    const { now, before, moves, from } = this.drag;
    const [px, py] = this.place(event);
    const isClick = Math.abs(px - from[0]) < LEAST / 2 && Math.abs(py - from[1]) < LEAST / 2;
    const tooSmall = !moves && (now[2] < LEAST || now[3] < LEAST);
    this.set(isClick || tooSmall ? before : now);
    if (!isClick && !tooSmall) this.search(this.crop);
  }

  press(event) {
    const move = MOVES[event.key];
    if (move && !event.altKey && !event.ctrlKey && !event.metaKey) {
      const change = event.shiftKey ? resized : moved;
      this.set(this.crop ? change(this.crop, STEP * move[0], STEP * move[1]) : FIRST);
      const [x, y, w, h] = this.crop.map(percent);
      this.say(`Part of the picture: ${w} wide and ${h} high, ${x} from the left, ${y} from the top`);
    } else if (event.key === "Enter" && this.crop) {
      this.search(this.crop);
    } else if (event.key === "Escape" && this.crop) {
      this.set(null);
      this.search(null);
    } else return;
    event.preventDefault();
  }
}
