// Finding points: a grid of cells over the plane, so that nobody goes through all of them for one.

const CELLS = 128; // a side

export class Places {
  // `points`: count, and x, y (-1..1) and group of each.
  constructor(points) {
    this.points = points;
    const cells = new Uint32Array(points.count);
    this.starts = new Uint32Array(CELLS * CELLS + 1);
    for (let i = 0; i < points.count; i++) {
      cells[i] = this.cell(points.y[i]) * CELLS + this.cell(points.x[i]);
      this.starts[cells[i] + 1]++;
    }
    for (let c = 0; c < CELLS * CELLS; c++) this.starts[c + 1] += this.starts[c];
    const next = this.starts.slice();
    this.order = new Uint32Array(points.count);
    for (let i = 0; i < points.count; i++) this.order[next[cells[i]]++] = i;
  }

  cell(value) {
    return Math.min(CELLS - 1, Math.max(0, Math.floor(((value + 1) / 2) * CELLS)));
  }

  *near(left, top, right, bottom) {
    for (let row = this.cell(top); row <= this.cell(bottom); row++) {
      const [from, to] = [row * CELLS + this.cell(left), row * CELLS + this.cell(right)];
      for (let k = this.starts[from]; k < this.starts[to + 1]; k++) yield this.order[k];
    }
  }

  inside([left, top], [right, bottom]) {
    const { x, y } = this.points;
    const found = [];
    for (const i of this.near(left, top, right, bottom)) {
      if (x[i] >= left && x[i] <= right && y[i] >= top && y[i] <= bottom) found.push(i);
    }
    return found;
  }

  nearest(px, py, radius) {
    let [best, least] = [-1, radius * radius];
    for (const i of this.near(px - radius, py - radius, px + radius, py + radius)) {
      const far = (this.points.x[i] - px) ** 2 + (this.points.y[i] - py) ** 2;
      if (far <= least) [best, least] = [i, far];
    }
    return best;
  }

  // Of a closed line of corners, by the even-odd rule.
  inPolygon(corners) {
    const xs = corners.map((c) => c[0]);
    const ys = corners.map((c) => c[1]);
    const box = this.inside([Math.min(...xs), Math.min(...ys)], [Math.max(...xs), Math.max(...ys)]);
    return box.filter((i) => {
      const [px, py] = [this.points.x[i], this.points.y[i]];
      let odd = false;
      for (let a = 0, b = corners.length - 1; a < corners.length; b = a++) {
        const crosses = ys[a] > py !== ys[b] > py;
        if (crosses && px < ((xs[b] - xs[a]) * (py - ys[a])) / (ys[b] - ys[a]) + xs[a]) odd = !odd;
      }
      return odd;
    });
  }

  sorted(indices, cx, cy) {
    const far = (i) => (this.points.x[i] - cx) ** 2 + (this.points.y[i] - cy) ** 2;
    return indices.map((i) => [far(i), i]).sort((a, b) => a[0] - b[0] || a[1] - b[1]).map((pair) => pair[1]);
  }
}
