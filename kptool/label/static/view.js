// @ts-check
// The picture on the canvas: zoom, and drawing of points, lines and circles.

import { ABSENT, OCCLUDED } from "./entry.js";

const COLOURS = ["#e6194b", "#3cb44b", "#ffe119", "#4363d8", "#f58231", "#911eb4", "#46f0f0", "#f032e6", "#bcf60c", "#fabebe"];
const LENS_ZOOM = 6;

/** The colour of a point. @param {number} index */
export function colour(index) {
  const turn = Math.floor(index / COLOURS.length);
  return turn ? `hsl(${(index * 137.5) % 360} 85% ${turn % 2 ? 62 : 45}%)` : COLOURS[index];
}

export class View {
  /** @param {HTMLCanvasElement} canvas @param {HTMLCanvasElement} lens */
  constructor(canvas, lens) {
    this.canvas = canvas;
    this.lens = lens;
    const context = canvas.getContext("2d");
    const lensContext = lens.getContext("2d");
    if (!context || !lensContext) throw new Error("this browser has no canvas");
    this.context = context;
    this.lensContext = lensContext;
    /** @type {ImageBitmap | null} */
    this.picture = null;
    this.brightness = 1;
    this.scale = 1;
    this.left = 0;
    this.top = 0;
    this.fitted = true;
    /** @type {[number, number][]} */
    this.edges = [];
  }

  /** Show a picture as a whole. @param {ImageBitmap} picture */
  show(picture) {
    this.picture = picture;
    this.fit();
  }

  get ratio() {
    return window.devicePixelRatio || 1;
  }

  /** Make the picture as large as fits. */
  fit() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!this.picture || !width || !height) return;
    this.scale = Math.min(width / this.picture.width, height / this.picture.height);
    this.left = (width - this.picture.width * this.scale) / 2;
    this.top = (height - this.picture.height * this.scale) / 2;
    this.fitted = true;
  }

  /** Zoom about a place on the canvas. @param {number} factor @param {number} x @param {number} y */
  zoom(factor, x, y) {
    const scale = Math.max(0.02, Math.min(80, this.scale * factor));
    this.left = x - ((x - this.left) * scale) / this.scale;
    this.top = y - ((y - this.top) * scale) / this.scale;
    this.scale = scale;
    this.fitted = false;
  }

  /** @param {number} dx @param {number} dy */
  pan(dx, dy) {
    this.left += dx;
    this.top += dy;
    this.fitted = false;
  }

  /** The place in the picture under one on the canvas: an integer is a pixel's centre. @param {number} x @param {number} y */
  toPicture(x, y) {
    return [(x - this.left) / this.scale - 0.5, (y - this.top) / this.scale - 0.5];
  }

  /** @param {number} x @param {number} y @returns {[number, number]} */
  toCanvas(x, y) {
    return [(x + 0.5) * this.scale + this.left, (y + 0.5) * this.scale + this.top];
  }

  /** @param {import("./entry.js").Editor | null} editor */
  draw(editor) {
    const { canvas, context, ratio } = this;
    const width = Math.round(canvas.clientWidth * ratio);
    const height = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
      if (this.fitted) this.fit();
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
    if (!this.picture) return;
    context.imageSmoothingEnabled = this.scale < 3;
    context.filter = this.brightness === 1 ? "none" : `brightness(${this.brightness})`;
    context.drawImage(this.picture, this.left, this.top, this.picture.width * this.scale, this.picture.height * this.scale);
    context.filter = "none";
    editor?.entry.instances.forEach((one, instance) => this.drawInstance(editor, one, instance));
  }

  /** @param {import("./entry.js").Editor} editor @param {import("./entry.js").Instance} one @param {number} instance */
  drawInstance(editor, one, instance) {
    const { context } = this;
    const chosen = instance === editor.instance;
    context.globalAlpha = chosen ? 1 : 0.55;
    context.lineWidth = 1.5;
    context.setLineDash(one.proposed ? [5, 4] : []);
    if (one.box) {
      const [x, y] = this.toCanvas(one.box[0] - 0.5, one.box[1] - 0.5);
      context.strokeStyle = "#fff";
      context.strokeRect(x, y, one.box[2] * this.scale, one.box[3] * this.scale);
    }
    context.strokeStyle = "rgb(255 255 255 / 0.8)";
    for (const [a, b] of this.edges) {
      const [from, to] = [one.points[a], one.points[b]];
      if (from[2] === ABSENT || to[2] === ABSENT) continue;
      context.beginPath();
      context.moveTo(...this.toCanvas(from[0], from[1]));
      context.lineTo(...this.toCanvas(to[0], to[1]));
      context.stroke();
    }
    one.points.forEach((point, index) => {
      if (point[2] !== ABSENT) this.drawPoint(point, index, one, chosen && index === editor.point);
    });
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  /** @param {import("./entry.js").Point} point @param {number} index @param {import("./entry.js").Instance} one @param {boolean} chosen */
  drawPoint(point, index, one, chosen) {
    const { context } = this;
    const [x, y] = this.toCanvas(point[0], point[1]);
    const radius = one.radii?.[index];
    context.strokeStyle = colour(index);
    if (radius) {
      context.beginPath();
      context.arc(x, y, radius * this.scale, 0, 2 * Math.PI);
      context.stroke();
    }
    context.setLineDash([]);
    context.beginPath();
    context.arc(x, y, chosen ? 7 : 5, 0, 2 * Math.PI);
    context.lineWidth = 4;
    context.strokeStyle = "rgb(0 0 0 / 0.55)";
    context.stroke();
    context.lineWidth = 2;
    context.strokeStyle = colour(index);
    context.stroke();
    context.beginPath();
    context.arc(x, y, 1.5, 0, 2 * Math.PI);
    context.fillStyle = point[2] === OCCLUDED ? "#000" : colour(index);
    context.fill();
  }

  /** Show what is around a place in the picture, enlarged; null hides it. @param {[number, number] | null} place */
  magnify(place) {
    this.lens.hidden = !place || !this.picture;
    if (!place || !this.picture) return;
    const side = this.lens.width;
    const zoom = Math.max(LENS_ZOOM, this.scale * 2.5);
    const seen = side / zoom;
    const context = this.lensContext;
    context.fillStyle = "#808488";
    context.fillRect(0, 0, side, side);
    context.imageSmoothingEnabled = false;
    context.filter = `brightness(${this.brightness})`;
    context.drawImage(this.picture, place[0] + 0.5 - seen / 2, place[1] + 0.5 - seen / 2, seen, seen, 0, 0, side, side);
    context.filter = "none";
    context.strokeStyle = "rgb(255 255 255 / 0.9)";
    context.beginPath();
    for (const [a, b] of [[0, side / 2 - 6], [side / 2 + 6, side]]) {
      context.moveTo(a, side / 2);
      context.lineTo(b, side / 2);
      context.moveTo(side / 2, a);
      context.lineTo(side / 2, b);
    }
    context.stroke();
  }
}
