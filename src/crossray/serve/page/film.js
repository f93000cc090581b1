// A film on a canvas: window and level, zoom and pan shared by all panes, and a map of colours over it.

export const view = { level: 128, window: 255, invert: false, opacity: 0.5, zoom: 1, x: 0, y: 0 };
export const START = { ...view };

// Black - violet - orange - pale yellow: rises in lightness, so that it can be read without colour vision too.
const STOPS = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];

export function colour(value) {
  const at = Math.min(Math.max(value, 0), 1) * (STOPS.length - 1);
  const low = Math.min(Math.floor(at), STOPS.length - 2);
  return STOPS[low].map((from, k) => from + (STOPS[low + 1][k] - from) * (at - low));
}

export class Pane {
  constructor(run, onMove, onClick) {
    this.run = run;
    this.figure = document.createElement("figure");
    this.caption = document.createElement("figcaption");
    this.caption.textContent = `${run.method}: ${run.name}`;
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `Film as seen with ${run.method}`);
    this.figure.append(this.caption, this.canvas);
    this.onMove = onMove;
    this.onClick = onClick;
    this.listen();
  }

  setFilm(grey) { // {width, height, values: Uint8ClampedArray}
    this.grey = grey;
    this.heat = null;
    this.boxes = null;
    this.picture = new OffscreenCanvas(grey.width, grey.height);
    this.window();
  }

  window() { // the film's values through window and level
    if (!this.grey) return;
    const { width, height, values } = this.grey;
    const table = Uint8ClampedArray.from({ length: 256 }, (_, grey) => {
      const shown = Math.min(Math.max((grey - view.level) / view.window + 0.5, 0), 1) * 255;
      return view.invert ? 255 - shown : shown;
    });
    const image = new ImageData(width, height);
    const out = new Uint32Array(image.data.buffer);
    for (let k = 0; k < values.length; k++) out[k] = 0xff000000 | (table[values[k]] * 0x010101);
    this.picture.getContext("2d").putImageData(image, 0, 0);
    this.draw();
  }

  setHeat(heat) { // {width, height, values} of 0..255, or null
    this.heat = null;
    this.boxes = null;
    if (heat) {
      const image = new ImageData(heat.width, heat.height);
      heat.values.forEach((value, k) => {
        const [red, green, blue] = colour(value / 255);
        image.data.set([red, green, blue, value], 4 * k);
      });
      this.heat = new OffscreenCanvas(heat.width, heat.height);
      this.heat.getContext("2d").putImageData(image, 0, 0);
    }
    this.draw();
  }

  setBoxes(boxes) { // [{box: [x0, y0, x1, y1], strength: 0..1}]
    this.heat = null;
    this.boxes = boxes;
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
    paper.globalAlpha = view.opacity;
    if (this.heat) paper.drawImage(this.heat, 0, 0, this.grey.width, this.grey.height);
    paper.beginPath();
    paper.rect(0, 0, this.grey.width, this.grey.height);
    paper.clip();
    for (const { box: [x0, y0, x1, y1], strength } of this.boxes ?? []) {
      const [red, green, blue] = colour(strength);
      paper.fillStyle = `rgb(${red} ${green} ${blue} / ${strength})`;
      paper.fillRect(x0, y0, x1 - x0, y1 - y0);
    }
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
    this.canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.onMove({ zoom: view.zoom * Math.exp(-event.deltaY / 500) });
    }, { passive: false });
  }
}
