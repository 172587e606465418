// Discs drawn into the pixels of a canvas: fifty thousand take some milliseconds anywhere, without a graphics card.

const PARTS = 4; // places of a disc between two pixels, each way

// The pixels of a disc and how much of each it covers, by its place between pixels: [dx, dy, cover 0..256]...
function stamps(radius) {
  return Array.from({ length: PARTS * PARTS }, (_, at) => {
    const [cx, cy] = [(at % PARTS) / PARTS, Math.floor(at / PARTS) / PARTS];
    const reach = Math.ceil(radius + 1);
    const stamp = [];
    for (let dy = -reach; dy <= reach; dy++) {
      for (let dx = -reach; dx <= reach; dx++) {
        const cover = radius + 0.5 - Math.hypot(dx - cx, dy - cy);
        if (cover > 0.02) stamp.push(dx, dy, Math.round(256 * Math.min(1, cover)));
      }
    }
    return Int16Array.from(stamp);
  });
}

export class Raster {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.made = new Map(); // stamps by radius
  }

  resize(width, height) {
    Object.assign(this.canvas, { width, height });
    Object.assign(this, { width, height });
    this.image = this.context.createImageData(width, height);
    this.pixels = new Uint32Array(this.image.data.buffer);
  }

  clear() {
    this.pixels.fill(0);
    this.drawn = 0;
  }

  // Of a radius to quarter pixels.
  use(radius) {
    const key = Math.round(radius * 4);
    if (!this.made.has(key)) this.made.set(key, stamps(key / 4));
    this.stamps = this.made.get(key);
    this.radius = radius;
  }

  // A disc of a colour (0xAABBGGRR, opaque) on what is there; partly covered pixels are mixed.
  disc(x, y, colour) {
    const { width, height, pixels } = this;
    const reach = this.radius + 2;
    if (x < -reach || y < -reach || x > width + reach || y > height + reach) return;
    const left = Math.floor(x);
    const top = Math.floor(y);
    const stamp = this.stamps[Math.floor((y - top) * PARTS) * PARTS + Math.floor((x - left) * PARTS)];
    this.drawn++;
    for (let k = 0; k < stamp.length; k += 3) { // no arrays here: this runs a million times a frame
      const px = left + stamp[k];
      const py = top + stamp[k + 1];
      const cover = stamp[k + 2];
      if (px < 0 || py < 0 || px >= width || py >= height) continue;
      const at = py * width + px;
      const under = pixels[at];
      if (cover === 256) pixels[at] = colour;
      else if (under !== colour) pixels[at] = mixed(under, colour, cover);
    }
  }

  show() {
    this.context.putImageData(this.image, 0, 0);
  }
}

function mixed(under, over, cover) {
  if (under >>> 24 === 0) return ((over & 0xffffff) | ((cover - 1) << 24)) >>> 0;
  const rest = 256 - cover;
  const alpha = Math.min(255, (under >>> 24) + cover);
  const outer = (((over & 0xff00ff) * cover + (under & 0xff00ff) * rest) >>> 8) & 0xff00ff; // red and blue at once
  const inner = (((over & 0xff00) * cover + (under & 0xff00) * rest) >>> 8) & 0xff00;
  return (outer | inner | (alpha << 24)) >>> 0;
}

export const packed = ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
