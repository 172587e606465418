// What part of the plane is seen: from -1..1 to pixels and back.

const MOST_ZOOM = 400;
const MARGIN_PX = 34;
const within = (value, low, high) => Math.min(Math.max(value, low), high);

export class View {
  constructor() {
    Object.assign(this, { width: 1, height: 1, x: 0, y: 0, zoom: 1, extent: [1, 1] });
  }

  resize(width, height) {
    Object.assign(this, { width, height });
  }

  // Pixels of a unit of the plane.
  get scale() {
    const [wide, high] = this.extent;
    return this.zoom * Math.min((this.width - 2 * MARGIN_PX) / (2 * wide), (this.height - 2 * MARGIN_PX) / (2 * high));
  }

  toScreen(x, y) {
    return [this.width / 2 + (x - this.x) * this.scale, this.height / 2 + (y - this.y) * this.scale];
  }

  toPlane(px, py) {
    return [this.x + (px - this.width / 2) / this.scale, this.y + (py - this.height / 2) / this.scale];
  }

  pan(dx, dy) {
    this.x = within(this.x - dx / this.scale, -1, 1);
    this.y = within(this.y - dy / this.scale, -1, 1);
  }

  // What lies under a pixel stays there.
  zoomAt(factor, px = this.width / 2, py = this.height / 2) {
    const [x, y] = this.toPlane(px, py);
    this.zoom = within(this.zoom * factor, 1, MOST_ZOOM);
    const [nx, ny] = this.toPlane(px, py);
    this.x = within(this.x + x - nx, -1, 1);
    this.y = within(this.y + y - ny, -1, 1);
  }

  fit() {
    Object.assign(this, { x: 0, y: 0, zoom: 1 });
  }

  // The zoom and the middle that show these points.
  show(points, indices) {
    let [left, top, right, bottom] = [1, 1, -1, -1];
    for (const i of indices) {
      left = Math.min(left, points.x[i]);
      right = Math.max(right, points.x[i]);
      top = Math.min(top, points.y[i]);
      bottom = Math.max(bottom, points.y[i]);
    }
    this.fit();
    const [wide, high] = [Math.max(right - left, 0.02) * this.scale, Math.max(bottom - top, 0.02) * this.scale];
    const room = Math.min((this.width - 2 * MARGIN_PX) / wide, (this.height - 2 * MARGIN_PX) / high);
    Object.assign(this, { x: (left + right) / 2, y: (top + bottom) / 2, zoom: within(room, 1, MOST_ZOOM / 4) });
  }
}
