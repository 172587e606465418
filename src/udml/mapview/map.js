import { assignColours, PALETTES, rgb } from "./colours.js";
import { Controls } from "./controls.js";
import { ImageList } from "./list.js";
import { Places } from "./places.js";
import { packed, Raster } from "./raster.js";
import { View } from "./view.js";

const HIT_PX = 14; // how near a pointer must be to a point
const PICTURE_PX = 46;
const MOST_PICTURES = 40; // on the map at a time
const KEPT_PICTURES = 240;
const SETTLE_MS = 180; // pictures come when the map has stood still for so long
const MARKUP = `
<div class="map-bar">
  <label class="map-choose">Show <select></select></label>
  <button type="button" data-do="view">List what I see</button>
  <button type="button" data-do="lasso" aria-pressed="false">Lasso</button>
  <span class="map-zoom"><button type="button" data-do="out" aria-label="Zoom out">&minus;</button><button
    type="button" data-do="fit" aria-label="Whole map">Whole</button><button type="button" data-do="in"
    aria-label="Zoom in">+</button></span>
</div>
<div class="map-stage" tabindex="0" role="application"><canvas></canvas><canvas></canvas>
  <div class="map-card" hidden><i></i><span class="map-card-name"></span><span class="map-card-label"></span></div>
</div>
<p class="map-hint">Drag to move, wheel or pinch to zoom, Shift and drag to list what you circle.
  <span class="map-keys">By keyboard: arrows move, + and &minus; zoom, 0 shows all, Enter lists what is in view, Escape clears.</span></p>
<p class="map-told" role="status"></p>
<div class="map-chosen" hidden></div>`;
const counted = (n) => `${n.toLocaleString()} ${n === 1 ? "image" : "images"}`;

// A map of images.
//   points: count, x, y (-1..1) and group of each, the most typical of a group first
//   sets: [{ name, indices }] to choose from, besides the groups; groups: how many there are
//   source: describe(indices) -> [{ name, label }], picture(index, atOnce) -> an <img> or <canvas> of it,
//           open(index) -> what a click does, verb -> what that is called
export class ImageMap {
  constructor(root, points, groups, source, sets = []) {
    Object.assign(this, { root, points, source, view: new View(), places: new Places(points) });
    Object.assign(this, { lasso: false, members: null, focused: -1, frames: 0, pictures: new Map(), waiting: 0 });
    this.colours = assignColours(points, groups);
    root.classList.add("map-view");
    root.innerHTML = MARKUP;
    const find = (css) => root.querySelector(css);
    [this.stage, this.card, this.told, this.chosen] = [".map-stage", ".map-card", ".map-told", ".map-chosen"].map(find);
    const [dots, over] = root.querySelectorAll("canvas");
    this.raster = new Raster(dots);
    this.over = over.getContext("2d");
    this.list = new ImageList(this.chosen, source, (index) => this.focus(index));
    this.stage.setAttribute("aria-label", `Map of ${counted(points.count)}; alike ones lie together`);
    this.stage.setAttribute("aria-description", find(".map-keys").textContent);
    this.controls = new Controls(this.stage, this);
    this.fillSets(find("select"), groups, sets);
    for (const button of root.querySelectorAll("[data-do]")) button.onclick = () => this.act(button.dataset.do);
    this.extend();
    new ResizeObserver(() => this.resize()).observe(this.stage);
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.scheme.addEventListener("change", () => this.draw());
    this.resize();
  }

  extend() {
    const most = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0.05);
    this.view.extent = [most(this.points.x), most(this.points.y)];
  }

  // --- choosing ---------------------------------------------------------------------------------

  fillSets(select, groups, sets) {
    const byGroup = Array.from({ length: groups }, () => []);
    for (let i = 0; i < this.points.count; i++) byGroup[this.points.group[i]].push(i);
    this.sets = [...sets, ...byGroup.map((indices, at) => ({ name: `Group ${at + 1}`, indices, group: true }))];
    this.typical = byGroup.flatMap((indices) => indices.slice(0, 8)); // the first of a group are
    select.append(new Option(`all ${counted(this.points.count)}`, ""));
    this.sets.forEach((set, at) => select.append(new Option(`${set.name} (${set.indices.length.toLocaleString()})`, at)));
    this.select = select;
    select.onchange = () => (select.value === "" ? this.clear() : this.takeSet(Number(select.value)));
  }

  takeSet(at) {
    const set = this.sets[at];
    if (!set.indices.length) return this.take([], `${set.name}: no images`);
    this.view.show(this.points, set.indices);
    return this.take(set.indices, `${set.name}: ${counted(set.indices.length)}`);
  }

  take(indices, told) {
    this.members = indices.length ? new Uint8Array(this.points.count) : null;
    for (const i of indices) this.members[i] = 1;
    this.focused = -1;
    this.card.hidden = true;
    this.chosen.hidden = indices.length === 0;
    this.say(told);
    this.draw();
    return this.list.show(indices, told);
  }

  takeLasso(line) {
    this.select.value = "";
    this.press(false);
    const corners = line.map(([x, y]) => this.view.toPlane(x, y));
    const found = this.places.inPolygon(corners);
    return this.take(this.fromMiddle(found), found.length ? `${counted(found.length)} inside the lasso` : "No image inside the lasso");
  }

  listView() {
    this.select.value = "";
    const found = this.places.inside(this.view.toPlane(0, 0), this.view.toPlane(this.view.width, this.view.height));
    const done = this.take(this.fromMiddle(found), found.length ? `${counted(found.length)} in view` : "No image in view");
    if (found.length) this.list.heading.focus({ preventScroll: true });
    return done;
  }

  fromMiddle(indices) {
    const mean = (values) => indices.reduce((sum, i) => sum + values[i], 0) / indices.length;
    return this.places.sorted(indices, mean(this.points.x), mean(this.points.y));
  }

  clear() {
    this.select.value = "";
    this.view.fit();
    this.take([], this.members ? `All ${counted(this.points.count)}` : "");
  }

  act(what) {
    if (what === "in" || what === "out") this.view.zoomAt(what === "in" ? 1.7 : 1 / 1.7);
    else if (what === "fit") this.view.fit();
    else if (what === "lasso") return this.press(!this.lasso);
    else return this.listView();
    this.draw();
    return this.sayView();
  }

  press(on) {
    this.lasso = on;
    this.root.querySelector('[data-do="lasso"]').setAttribute("aria-pressed", String(on));
    this.stage.classList.toggle("lasso", on);
  }

  // --- pointing ---------------------------------------------------------------------------------

  nearestTo(index, count) {
    const { x, y } = this.points;
    return this.places.sorted([...x.keys()], x[index], y[index]).slice(0, count);
  }

  find(x, y, reach = HIT_PX) {
    const [px, py] = this.view.toPlane(x, y);
    const picture = (this.shown ?? []).find(([, left, top]) => x >= left && y >= top && x < left + PICTURE_PX && y < top + PICTURE_PX);
    return picture ? picture[0] : this.places.nearest(px, py, reach / this.view.scale);
  }

  hover(x, y) {
    const index = x === undefined ? -1 : this.find(x, y);
    this.stage.classList.toggle("over", index >= 0);
    if (index !== this.focused) this.focus(index);
  }

  click(x, y, kind) {
    const index = this.find(x, y, kind === "touch" ? 2 * HIT_PX : HIT_PX);
    if (index < 0) return;
    if (kind === "touch" && index !== this.touched) { // the first touch shows, the second one opens
      this.touched = index;
      this.focus(index);
    } else this.source.open(index, this);
  }

  async focus(index) {
    this.focused = index;
    this.draw();
    this.card.hidden = true;
    if (index < 0) return;
    const [known] = await this.source.describe([index]);
    if (this.focused !== index || !known) return;
    this.card.children[1].textContent = known.name.split("/").at(-1);
    this.card.children[2].textContent = known.label ?? "";
    this.card.replaceChild(this.source.picture(index, true), this.card.firstElementChild);
    this.card.hidden = false;
    this.placeCard(index);
  }

  placeCard(index) {
    const [x, y] = this.view.toScreen(this.points.x[index], this.points.y[index]);
    const [wide, high] = [this.card.offsetWidth, this.card.offsetHeight];
    if (x < 0 || y < 0 || x > this.view.width || y > this.view.height) this.card.hidden = true;
    const left = x + 18 + wide > this.view.width ? x - 18 - wide : x + 18;
    const top = Math.min(Math.max(8, y - high / 2), this.view.height - high - 8);
    Object.assign(this.card.style, { left: `${Math.max(8, left)}px`, top: `${Math.max(8, top)}px` });
  }

  // --- telling ----------------------------------------------------------------------------------

  say(text) {
    this.told.textContent = text;
  }

  sayView() {
    clearTimeout(this.saying);
    this.saying = setTimeout(() => {
      const [a, b] = [this.view.toPlane(0, 0), this.view.toPlane(this.view.width, this.view.height)];
      this.say(`${counted(this.places.inside(a, b).length)} in view`);
    }, SETTLE_MS);
  }

  // --- drawing ----------------------------------------------------------------------------------

  resize() {
    const { clientWidth: width, clientHeight: height } = this.stage;
    if (!width || !height) return;
    this.dense = Math.min(2, devicePixelRatio || 1);
    this.view.resize(width, height);
    this.raster.resize(Math.round(width * this.dense), Math.round(height * this.dense));
    Object.assign(this.over.canvas, { width: Math.round(width * this.dense), height: Math.round(height * this.dense) });
    this.draw();
  }

  draw() {
    if (this.waiting || !this.raster.image) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.drawDots();
      this.drawOver();
      this.frames++;
      this.root.dataset.frames = this.frames;
      this.root.dataset.drawn = this.raster.drawn;
      clearTimeout(this.settling);
      this.settling = setTimeout(() => this.fetchPictures(), SETTLE_MS);
    });
  }

  drawDots() {
    const { points, raster, view, dense, members } = this;
    const palette = (this.scheme.matches ? PALETTES.dark : PALETTES.light).map((hex) => packed(rgb(hex)));
    const colours = this.colours.chosen.map((colour) => palette[colour]);
    const faint = packed(this.scheme.matches ? [58, 63, 70] : [222, 219, 212]);
    const spread = Math.sqrt((view.width * view.height) / Math.max(points.count, 1));
    const radius = dense * Math.min(6.5, Math.max(1.1, 0.22 * spread) * Math.pow(view.zoom, 0.35));
    const scale = view.scale * dense;
    const [dx, dy] = [(view.width / 2) * dense - view.x * scale, (view.height / 2) * dense - view.y * scale];
    raster.clear();
    raster.use(radius);
    const { x, y, group, count } = points;
    for (const turn of members ? [0, 1] : [null]) {
      for (let i = count - 1; i >= 0; i--) {
        if (turn !== null && members[i] !== turn) continue;
        raster.disc(x[i] * scale + dx, y[i] * scale + dy, turn === 0 ? faint : colours[group[i]]);
      }
    }
    this.radius = radius / dense;
    raster.show();
  }

  colourOf(index) {
    return (this.scheme.matches ? PALETTES.dark : PALETTES.light)[this.colours.chosen[this.points.group[index]]];
  }

  // Pictures, the point that is looked at, the lasso.
  drawOver() {
    const { over, view } = this;
    over.setTransform(this.dense, 0, 0, this.dense, 0, 0);
    over.clearRect(0, 0, view.width, view.height);
    this.shown = this.spread();
    for (const [index, left, top] of this.shown) this.drawPicture(index, left, top);
    if (this.focused >= 0) {
      const [x, y] = view.toScreen(this.points.x[this.focused], this.points.y[this.focused]);
      over.lineWidth = 3;
      over.strokeStyle = getComputedStyle(this.stage).color;
      over.beginPath();
      over.arc(x, y, this.radius + 5, 0, 7);
      over.stroke();
      if (!this.card.hidden) this.placeCard(this.focused);
    }
    if (this.line) {
      over.lineWidth = 2;
      over.setLineDash([6, 4]);
      over.strokeStyle = getComputedStyle(this.stage).color;
      over.beginPath();
      for (const [x, y] of this.line) over.lineTo(x, y);
      over.closePath();
      over.stroke();
      over.setLineDash([]);
    }
  }

  drawPicture(index, left, top) {
    const image = this.pictures.get(index);
    const [wide, high] = [image?.naturalWidth ?? image?.width, image?.naturalHeight ?? image?.height];
    if (!wide || !high) return; // it is on its way, or can't be had
    const { over } = this;
    const side = Math.min(wide, high);
    const from = [(wide - side) / 2, (high - side) / 2];
    over.save();
    over.beginPath();
    over.roundRect(left, top, PICTURE_PX, PICTURE_PX, 9);
    over.clip();
    over.drawImage(image, ...from, side, side, left, top, PICTURE_PX, PICTURE_PX);
    over.restore();
    over.lineWidth = 2.5;
    over.strokeStyle = this.colourOf(index);
    over.beginPath();
    over.roundRect(left, top, PICTURE_PX, PICTURE_PX, 9);
    over.stroke();
  }

  // Points in view that get a picture, with its corner: spread over the view, those shown before first.
  spread() {
    const { view, points, members } = this;
    const [from, to] = [view.toPlane(0, 0), view.toPlane(view.width, view.height)];
    const some = points.count / view.zoom ** 2 > 2000; // then the typical ones do
    const seen = some
      ? this.typical.filter((i) => points.x[i] >= from[0] && points.x[i] <= to[0] && points.y[i] >= from[1] && points.y[i] <= to[1])
      : this.places.inside(from, to).sort((a, b) => a - b);
    const gap = some || seen.length > 400 ? 2.1 * PICTURE_PX : PICTURE_PX + 8;
    const before = new Set((this.shown ?? []).map(([index]) => index));
    const found = [];
    for (const i of [...seen.filter((i) => before.has(i)), ...seen.filter((i) => !before.has(i))]) {
      if (found.length >= Math.min(MOST_PICTURES, (view.width * view.height) / 9000)) break;
      if (members && !members[i]) continue;
      const [x, y] = view.toScreen(points.x[i], points.y[i]);
      const [left, top] = [x - PICTURE_PX / 2, y - PICTURE_PX / 2];
      if (found.some(([, ox, oy]) => Math.abs(ox - left) < gap && Math.abs(oy - top) < gap)) continue;
      found.push([i, left, top]);
    }
    return found;
  }

  fetchPictures() {
    for (const [index] of this.shown ?? []) {
      if (this.pictures.has(index)) continue;
      const image = this.source.picture(index, true);
      if (image.complete ?? true) this.draw();
      image.addEventListener("load", () => this.draw());
      this.pictures.set(index, image);
      if (this.pictures.size > KEPT_PICTURES) this.pictures.delete(this.pictures.keys().next().value);
    }
  }

  drawLasso(line) {
    this.line = line;
    this.draw();
  }
}
