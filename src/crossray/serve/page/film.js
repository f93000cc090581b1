// A film on a canvas: window and level, zoom and pan shared by all panes, and a map of colours over it.

const LEAST_ZOOM = 0.5;
const MOST_ZOOM = 30;

export const view = { level: 128, window: 255, invert: false, opacity: 0.6, zoom: 1, x: 0, y: 0 };
export const START = { ...view };

export function change(what) { // x and y: how far the film's middle is moved, in shares of the pane
  Object.assign(view, what);
  view.zoom = within(view.zoom, LEAST_ZOOM, MOST_ZOOM);
  view.level = within(view.level, 0, 255);
  view.window = within(view.window, 2, 512);
  for (const axis of ["x", "y"]) view[axis] = within(view[axis], -view.zoom / 2, view.zoom / 2);
}

const within = (value, low, high) => Math.min(Math.max(value, low), high);

// Violet - red - orange - yellow: never white, so that it shows on bone too; rises in lightness, so that it can be
// read without colour vision.
const STOPS = [[76, 2, 161], [156, 23, 158], [216, 74, 112], [251, 139, 52], [240, 249, 33]];

export function colour(value) {
  const at = within(value, 0, 1) * (STOPS.length - 1);
  const low = Math.min(Math.floor(at), STOPS.length - 2);
  return STOPS[low].map((from, k) => Math.round(from + (STOPS[low + 1][k] - from) * (at - low)));
}

// What is weak hides the film less than what is strong.
const coverOf = (strength) => strength ** 2;

const HEAT = Array.from({ length: 256 }, (_, value) => [...colour(value / 255), Math.round(255 * coverOf(value / 255))]);

export class Pane {
  constructor(run, onMove, onClick) {
    this.run = run;
    this.figure = document.createElement("figure");
    this.caption = document.createElement("figcaption");
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("role", "img");
    this.canvas.tabIndex = 0;
    this.figure.append(this.caption, this.canvas);
    this.onMove = onMove;
    this.onClick = onClick;
    this.note();
    this.listen();
  }

  note(text = "") { // beside the method's name, and for those who hear the page
    this.caption.textContent = `${this.run.method} · ${this.run.name}${text && ` — ${text}`}`;
    this.canvas.setAttribute("aria-label", `Film as seen by ${this.caption.textContent}`);
  }

  setFilm(grey) { // {width, height, values: Uint8ClampedArray}
    this.grey = grey;
    this.picture = new OffscreenCanvas(grey.width, grey.height);
    this.clear();
    this.window();
  }

  clear() {
    this.heat = this.peak = this.seen = this.boxes = null;
    this.note();
    this.draw();
  }

  window() { // the film's values through window and level
    if (!this.grey) return;
    const { width, height, values } = this.grey;
    const table = Uint32Array.from({ length: 256 }, (_, grey) => {
      const shown = Math.round(within((grey - view.level) / view.window + 0.5, 0, 1) * 255);
      return 0xff000000 | ((view.invert ? 255 - shown : shown) * 0x010101);
    });
    const image = new ImageData(width, height);
    const out = new Uint32Array(image.data.buffer);
    for (let k = 0; k < values.length; k++) out[k] = table[values[k]];
    this.picture.getContext("2d").putImageData(image, 0, 0);
    this.draw();
  }

  setHeat({ width, height, values }, peak, seen) { // values of 0..255; peak and seen in the film's pixels
    this.clear();
    const image = new ImageData(width, height);
    for (let k = 0; k < values.length; k++) image.data.set(HEAT[values[k]], 4 * k);
    this.heat = new OffscreenCanvas(width, height);
    this.heat.getContext("2d").putImageData(image, 0, 0);
    this.peak = peak;
    this.seen = seen;
    this.draw();
  }

  setBoxes(boxes, seen) { // [{box: [x0, y0, x1, y1], strength: 0..1, chosen}]
    this.clear();
    this.boxes = boxes;
    this.seen = seen;
    this.draw();
  }

  place() { // scale and origin of the film on the canvas
    const { width, height } = this.grey;
    const scale = Math.min(this.canvas.width / width, this.canvas.height / height) * view.zoom;
    const x = (this.canvas.width - width * scale) / 2 + view.x * this.canvas.width;
    const y = (this.canvas.height - height * scale) / 2 + view.y * this.canvas.height;
    return { scale, x, y };
  }

  draw() {
    const box = this.canvas.getBoundingClientRect();
    this.canvas.width = Math.max(1, Math.round(box.width * devicePixelRatio));
    this.canvas.height = Math.max(1, Math.round(box.height * devicePixelRatio));
    if (!this.grey) return;
    const paper = this.canvas.getContext("2d");
    const { scale, x, y } = this.place();
    paper.setTransform(scale, 0, 0, scale, x, y);
    paper.drawImage(this.picture, 0, 0);
    if (!view.opacity) return;
    paper.globalAlpha = view.opacity;
    if (this.heat) paper.drawImage(this.heat, 0, 0, this.grey.width, this.grey.height);
    this.drawBoxes(paper);
    paper.globalAlpha = 1;
    const letter = parseFloat(getComputedStyle(document.documentElement).fontSize); // marks grow with the letters
    this.drawMarks(paper, devicePixelRatio / scale * letter / 14);
  }

  drawBoxes(paper) {
    paper.save();
    paper.beginPath();
    paper.rect(0, 0, this.grey.width, this.grey.height);
    paper.clip();
    for (const { box: [x0, y0, x1, y1], strength } of this.boxes ?? []) {
      paper.fillStyle = `rgb(${colour(strength).join(" ")} / ${coverOf(strength)})`;
      paper.fillRect(x0, y0, x1 - x0, y1 - y0);
    }
    paper.restore();
  }

  drawMarks(paper, pixel) { // pixel: about one of the screen's, in the film's
    const twice = (trace) => { // dark under light: seen on bone and on lung
      for (const [width, tone] of [[4, "#000a"], [1.75, "#fff"]]) {
        paper.lineWidth = width * pixel;
        paper.strokeStyle = tone;
        trace();
      }
    };
    const [x0, y0, x1, y1] = this.seen ?? [0, 0, Infinity, Infinity];
    if (x0 > 0 || y0 > 0 || x1 < this.grey.width || y1 < this.grey.height) {
      paper.setLineDash([6 * pixel, 6 * pixel]);
      paper.lineWidth = pixel;
      paper.strokeStyle = "#fff9";
      paper.strokeRect(x0, y0, x1 - x0, y1 - y0);
      paper.setLineDash([]);
    }
    for (const { box: [x0, y0, x1, y1], chosen } of this.boxes ?? []) if (chosen) twice(() => paper.strokeRect(x0, y0, x1 - x0, y1 - y0));
    if (this.peak) {
      twice(() => {
        paper.beginPath();
        paper.arc(...this.peak, 9 * pixel, 0, 2 * Math.PI);
        paper.stroke();
      });
    }
  }

  zoomed(factor, clientX, clientY) { // the view in which the point under the pointer stays where it is
    const box = this.canvas.getBoundingClientRect();
    const real = within(view.zoom * factor, LEAST_ZOOM, MOST_ZOOM) / view.zoom;
    const [across, down] = [(clientX - box.left) / box.width - 0.5, (clientY - box.top) / box.height - 0.5];
    return { zoom: view.zoom * real, x: across - (across - view.x) * real, y: down - (down - view.y) * real };
  }

  pointOf(event) { // the film's pixel under the pointer
    const box = this.canvas.getBoundingClientRect();
    const { scale, x, y } = this.place();
    return [((event.clientX - box.left) * devicePixelRatio - x) / scale, ((event.clientY - box.top) * devicePixelRatio - y) / scale];
  }

  listen() {
    let from = null;
    let moved = false;
    this.canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    this.canvas.addEventListener("pointerdown", (event) => {
      from = { x: event.clientX, y: event.clientY, right: event.button === 2 };
      moved = false;
      this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!from) return;
      const [right, down] = [event.clientX - from.x, event.clientY - from.y];
      if (!moved && Math.hypot(right, down) < 4) return;
      moved = true;
      if (from.right) {
        this.onMove({ window: view.window + right, level: view.level + down });
      } else {
        this.onMove({ x: view.x + right / this.canvas.clientWidth, y: view.y + down / this.canvas.clientHeight });
      }
      Object.assign(from, { x: event.clientX, y: event.clientY });
    });
    this.canvas.addEventListener("pointerup", (event) => {
      if (from && !moved && !from.right && this.grey) this.onClick(this.pointOf(event));
      from = null;
    });
    this.canvas.addEventListener("pointercancel", () => { from = null; });
    this.canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.onMove(this.zoomed(Math.exp(-event.deltaY / 500), event.clientX, event.clientY));
    }, { passive: false });
  }
}
