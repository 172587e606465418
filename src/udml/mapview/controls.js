// Pointers and keys, as what they ask of the map.

const PAN_PX = 60;
const CLICK_PX = 6;
const ZOOM_STEP = 1.5;
const ARROWS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

// `map` has view, draw(), lasso (whether dragging draws one), drawLasso(corners), takeLasso(corners), hover(x, y),
// click(x, y), listView() and clear().
export class Controls {
  constructor(stage, map) {
    Object.assign(this, { stage, map, pointers: new Map(), line: null });
    for (const [name, act] of Object.entries({
      pointerdown: this.down, pointermove: this.move, pointerup: this.up, pointercancel: this.cancel,
      pointerleave: this.leave, wheel: this.wheel, keydown: this.key,
    })) stage.addEventListener(name, (event) => act.call(this, event), { passive: false });
  }

  at(event) {
    const box = this.stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  down(event) {
    if (event.button !== 0) return;
    this.stage.focus({ preventScroll: true });
    this.stage.setPointerCapture(event.pointerId);
    const place = this.at(event);
    this.pointers.set(event.pointerId, place);
    if (this.pointers.size > 1) this.line = null;
    else this.line = this.map.lasso || event.shiftKey ? [place] : null;
    this.began = this.pointers.size === 1 ? place : null;
  }

  move(event) {
    const place = this.at(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) return this.map.hover(...place);
    const { view } = this.map;
    if (this.began && Math.hypot(place[0] - this.began[0], place[1] - this.began[1]) > CLICK_PX) this.began = null;
    if (this.line) {
      this.line.push(place);
      return this.map.drawLasso(this.line);
    }
    this.pointers.set(event.pointerId, place);
    if (this.pointers.size === 1) {
      if (!this.began) view.pan(place[0] - before[0], place[1] - before[1]);
    } else {
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
      const apart = (one) => Math.max(1, Math.hypot(one[0] - other[0], one[1] - other[1]));
      view.zoomAt(apart(place) / apart(before), ...other);
    }
    this.map.hover();
    return this.map.draw();
  }

  up(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    const [line, began] = [this.line, this.began];
    this.line = this.began = null;
    if (line) this.map.drawLasso(null);
    if (began) this.map.click(...this.at(event), event.pointerType);
    else if (line) this.map.takeLasso(line);
  }

  cancel(event) {
    this.pointers.delete(event.pointerId);
    this.line = this.began = null;
    this.map.drawLasso(null);
  }

  leave() {
    if (!this.pointers.size) this.map.hover();
  }

  wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 24 : 1;
    this.map.view.zoomAt(Math.exp(-Math.max(-240, Math.min(240, event.deltaY * lines)) / 320), ...this.at(event));
    this.map.draw();
  }

  key(event) {
    if (event.target !== this.stage || event.ctrlKey || event.metaKey || event.altKey) return;
    const { map } = this;
    if (event.key in ARROWS) map.view.pan(...ARROWS[event.key].map((way) => way * PAN_PX));
    else if (event.key === "+" || event.key === "=") map.view.zoomAt(ZOOM_STEP);
    else if (event.key === "-") map.view.zoomAt(1 / ZOOM_STEP);
    else if (event.key === "0" || event.key === "Home") map.view.fit();
    else if (event.key === "Enter" || event.key === " ") map.listView();
    else if (event.key === "Escape") map.clear();
    else return;
    event.preventDefault();
    map.draw();
    if (event.key !== "Enter" && event.key !== " " && event.key !== "Escape") map.sayView();
  }
}
